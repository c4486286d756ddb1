# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests share. Before any of them imports diffusers, transformers or peft: see torchvision_shim."""

from pathlib import Path

import pytest

from idto3d.torchvision_shim import prepare_torchvision

prepare_torchvision()


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user folder whose name has what breaks careless code."""
    folder = tmp_path / "Benutzer Ünï 名前"
    folder.mkdir()
    return folder
