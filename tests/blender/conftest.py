# SPDX-License-Identifier: GPL-3.0-or-later
"""IDTO3D_BPY_PYTHONS lists the Pythons that have bpy (os.pathsep between them); a test runs once with each."""

import os
from pathlib import Path

import pytest

PYTHONS = [python for python in os.environ.get("IDTO3D_BPY_PYTHONS", "").split(os.pathsep) if python]


@pytest.fixture(params=PYTHONS or [""], ids=lambda python: Path(python).parents[1].name if python else "none")
def bpy_python(request: pytest.FixtureRequest) -> str:
    if not request.param:
        pytest.skip("IDTO3D_BPY_PYTHONS is not set: no Python with bpy to test in")
    return str(request.param)
