# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests share."""

from pathlib import Path

import pytest

from idto3d.headmodel import HeadModel, load_head_model
from tests.tiny_head import tiny_head_model


@pytest.fixture(scope="session")
def tiny() -> HeadModel:
    return tiny_head_model()


@pytest.fixture(scope="session")
def starter() -> HeadModel:
    """The starter pack's."""
    return load_head_model(Path(__file__).parents[1] / "backend" / "packs" / "starter" / "head.safetensors")


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user folder whose name has what breaks careless code."""
    folder = tmp_path / "Benutzer Ünï 名前"
    folder.mkdir()
    return folder
