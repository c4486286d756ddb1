# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 build.py test --gui` sets IDTO3D_GUI_BLENDER; without it, or without a display, the tests here skip.

One Blender at a time plays a story from beginning to end; the tests look at what it saw.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.gui.blender_window import ROOT, Seen, play

_STORY_SECONDS = 2700.0


@pytest.fixture(scope="session")
def blender() -> str:
    """The Blender that has been named, on a machine where it can have a window."""
    named = os.environ.get("IDTO3D_GUI_BLENDER", "")
    if not named:
        pytest.skip("needs a Blender with a window: python3 build.py test --gui")
    if not Path(named).is_file():
        pytest.skip("there is no Blender on PATH; name one with --blender")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        pytest.skip("there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set")
    return named


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait in the public domain."""
    import PIL.Image
    import skimage.data

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    PIL.Image.fromarray(skimage.data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def head_story(blender: str, photo: Path) -> Seen:
    """What was seen from the installed zip to the rendered head."""
    return _play("head", blender, photo)


@pytest.fixture(scope="session")
def setup_story(blender: str, photo: Path) -> Seen:
    """What was seen of a real set-up; gigabytes, so only on demand."""
    if not os.environ.get("IDTO3D_GUI_SETUP"):
        pytest.skip("downloads gigabytes: set IDTO3D_GUI_SETUP=1 to run it")
    return _play("set-up", blender, photo)


def _play(story: str, blender: str, photo: Path) -> Seen:
    (archive,) = (ROOT / "out").glob("idto3d-*.zip")
    work = ROOT / "out" / "gui" / story
    shutil.rmtree(work, ignore_errors=True)
    return play(story, blender, archive, photo, work, _STORY_SECONDS)
