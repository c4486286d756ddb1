# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests share."""

from pathlib import Path

import pytest


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user folder whose name has what breaks careless code."""
    folder = tmp_path / "Benutzer Ünï 名前"
    folder.mkdir()
    return folder
