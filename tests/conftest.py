# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests share."""

from pathlib import Path

import pytest

from idto3d.__main__ import share_cores

# As the program does, before NumPy and torch are there and read it: the small systems of a fit took threads of
# OpenBLAS, which wait for each other, more than twice the processor's time.
share_cores()

from idto3d.headmodel import HeadModel, load_head_model  # noqa: E402
from tests.tiny_head import tiny_head_model  # noqa: E402


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
