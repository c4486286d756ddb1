# SPDX-License-Identifier: GPL-3.0-or-later
"""Freed memory is kept within a stage."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from idto3d.memory import share_heaps
if sys.argv[1] == "shared":
    share_heaps()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    return float((np.ones(500_000) + 1).sum())
work()
before = faults()
for _ in range(20):
    work()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heaps")
def test_freed_blocks_of_some_megabytes_are_used_again() -> None:
    def faults(mode: str) -> int:
        command = [sys.executable, "-c", FAULTS, mode]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert faults("shared") < 0.1 * faults("plain")
