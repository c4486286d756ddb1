# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a check in a Python that has bpy."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Of all checks: compiling the add-on anew was a quarter of a short one's time. The sources' folders stay clean.
COMPILED = tempfile.TemporaryDirectory(prefix="idto3d-")


def run(python: str, arguments: list[str], home: Path, code: int = 0) -> list[dict[str, Any]]:
    """Run with Blender's settings in ``home``; the JSON lines of standard output."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BLENDER_", "XDG_"))}
    result = subprocess.run(
        [python, "-X", "faulthandler", *arguments],
        cwd=ROOT,
        env={**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": COMPILED.name},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == code, f"{result.returncode}: {result.stdout[-2000:]}{result.stderr[-4000:]}"
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def run_check(python: str, name: str, scratch: Path) -> dict[str, Any]:
    """Run tests/blender/<name>.py with an empty folder; the last line that it prints, which says "ok"."""
    work = scratch / "work"
    work.mkdir()
    line = run(python, [str(HERE / f"{name}.py"), str(work)], scratch)[-1]
    assert line["result"] == "ok"
    return line


def blender_ext(python: str, *arguments: str) -> None:
    """The wheel's own extension tool, which needs no Blender."""
    code = "import importlib.util as u; print(u.find_spec('bpy').submodule_search_locations[0])"
    package = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    (tool,) = Path(package).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    result = subprocess.run([python, "-I", str(tool), *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
