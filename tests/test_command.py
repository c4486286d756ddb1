# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line before it does anything."""

import os
import subprocess
import sys

import pytest

import idto3d

LOOK = """
import os, sys
from idto3d.__main__ import main
assert main(["nothing"]) == 2
print(os.environ["GOMP_SPINCOUNT"], os.environ["KMP_BLOCKTIME"], "torch" in sys.modules)
"""


@pytest.mark.parametrize(("own", "printed"), [({}, "1000 0 False"), ({"GOMP_SPINCOUNT": "7"}, "7 0 False")])
def test_threads_are_told_not_to_spin_before_torch_is_there(own: dict[str, str], printed: str) -> None:
    bare = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    env = {**bare, **own, "PYTHONPATH": os.path.dirname(os.path.dirname(idto3d.__file__))}
    done = subprocess.run([sys.executable, "-c", LOOK], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed
