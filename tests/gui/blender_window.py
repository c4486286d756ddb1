# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts a Blender with a window on a story of drive.py, in a folder of its own, and reads what it saw."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Seen:
    """result: what the driver noted; folder: with its screenshots; log: what Blender printed."""

    result: dict[str, Any]
    folder: Path
    log: str


def play(story: str, blender: str, archive: Path, photo: Path, work: Path, seconds: float) -> Seen:
    """Play one of drive.STORIES. archive: the extension's zip. Raises AssertionError with Blender's last words when it
    leaves no result.

    Environment variables: IDTO3D_GUI_BACKEND folder of an environment with the backend's packages, or "fake" for the
    worker of tests/blender; IDTO3D_GUI_XDOTOOL=1 where xdotool is there for Blender, but not here; IDTO3D_GUI_SHOT a
    command that takes the path of a screenshot to make; IDTO3D_GUI_LOOK=1 takes more pictures; IDTO3D_GUI_PYTHON the
    interpreter for a real set-up, instead of Blender's own.
    """
    work.mkdir(parents=True, exist_ok=True)
    for name in ("drive.py", "common.py", "first_head.py", "after_head.py", "first_set_up.py", "hands.py"):
        shutil.copy(HERE / name, work)
    shutil.copy(archive, work)
    shutil.copy(photo, work)
    backend = os.environ.get("IDTO3D_GUI_BACKEND") or sys.prefix
    if backend == "fake":
        _fake(work)
    simulate = not (os.environ.get("IDTO3D_GUI_XDOTOOL") or shutil.which("xdotool"))
    given = {
        "story": story,
        "zip": archive.name,
        "photo": photo.name,
        "backend": backend,
        "simulate": simulate,
        "python": os.environ.get("IDTO3D_GUI_PYTHON", ""),
        "seconds": seconds,
        "look": bool(os.environ.get("IDTO3D_GUI_LOOK")),
    }
    (work / "given.json").write_text(json.dumps(given), encoding="utf-8")
    home = work / "home"
    home.mkdir(exist_ok=True)
    command = [blender, "--window-geometry", "0", "0", "1600", "1000", "--python-exit-code", "1"]
    command += ["--enable-event-simulate"] if simulate else []
    command += ["--python", str(work / "drive.py")]
    env = {**os.environ, "HOME": str(home), "BLENDER_USER_RESOURCES": str(home / "blender")}
    log = work / "blender-output.txt"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=work, env=env, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
        try:
            process.wait(seconds + 120)
        finally:
            process.kill()
            process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    result = work / "result.json"
    assert result.is_file(), f"Blender left no result (status {process.returncode}):\n{said[-3000:]}"
    return Seen(json.loads(result.read_text(encoding="utf-8")), work, said)


def _fake(work: Path) -> None:
    """The worker that computes nothing, with the bundle that it hands out."""
    from tests.blender import synthetic_bundle

    target = work / "tests" / "blender"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("fake_worker.py", "synthetic_bundle.py"):
        shutil.copy(ROOT / "tests" / "blender" / name, target)
    synthetic_bundle.write(work / "bundle")
