# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into the zip that Blender installs, and the static repository around it.

Standard library only. In the zip the add-on lies at the top, as Blender wants it, and the backend beside it.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from environments import ROOT

WORKSHOP = ("training", "evaluate")
"""Rooms of the backend that no user of the zip enters."""


def stage_extension(stage: Path) -> None:
    """Lay out in a new folder what goes into the zip: no tests, no tools and their pins, nothing that makes or measures
    a pack, no caches, nothing hidden."""
    own = Path(__file__).name, "progress_bar.py", "terminal_child.py"
    tools = ("requirements-bpy-*", "requirements-dev.txt", *own, *WORKSHOP)
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", *tools)
    shutil.copytree(ROOT / "idto3d_blender", stage, ignore=unwanted)
    shutil.copytree(ROOT / "backend", stage / "backend", ignore=unwanted)
    shutil.copytree(ROOT / "docs", stage / "docs", ignore=unwanted)
    for name in ("blender_manifest.toml", "LICENSE", "README.md"):
        shutil.copy2(ROOT / name, stage)


def fill_repository(stage: Path, repository: Path, blender_ext: Callable[..., None]) -> Path:
    """Make the folder `repository` with the zip of what is staged, an index and a page. Returns the zip.

    blender_ext: runs Blender's own extension tool with some arguments; raises where that refuses.
    """
    repository.mkdir()
    blender_ext("validate", str(stage))
    blender_ext("build", "--source-dir", str(stage), "--output-dir", str(repository))
    (archive,) = repository.glob("*.zip")
    blender_ext("validate", str(archive))
    blender_ext("server-generate", "--repo-dir", str(repository), "--html")
    return archive


def contents(archive: Path) -> str:
    """What a zip holds: files and size by folder, down to the second level."""
    folders: dict[str, list[int]] = {}
    with zipfile.ZipFile(archive) as opened:
        for each in opened.infolist():
            folders.setdefault("/".join(each.filename.split("/")[:-1][:2]), []).append(each.compress_size)
    lines = [f"  {sum(sizes) / 1e6:7.2f} MB  {len(sizes):3} files  {name or '.'}" for name, sizes in folders.items()]
    return "\n".join([*sorted(lines, reverse=True), f"  {archive.stat().st_size / 1e6:7.2f} MB  in all"])
