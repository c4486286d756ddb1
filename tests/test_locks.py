# SPDX-License-Identifier: GPL-3.0-or-later
"""What only one process may do at a time."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import environments

ROOT = Path(environments.__file__).resolve().parents[1]


def test_lock_makes_the_second_wait_and_dies_with_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    hold = f"from pathlib import Path; import environments, time\nwith environments.locked(Path({str(lock)!r})):\n"
    hold += " print('held', flush=True); time.sleep(60)"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "backend")}
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True, env=env)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    take = f"from pathlib import Path; import environments\nwith environments.locked(Path({str(lock)!r})): pass"
    waiter = subprocess.Popen([sys.executable, "-c", take], env=env)
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(1)
    holder.kill()
    holder.wait()
    assert waiter.wait(60) == 0
    assert not lock.exists()


def test_who_has_waited_holds_the_lock_that_is_there(tmp_path: Path) -> None:
    """Its file goes with the one before, and a third must not take a new one meanwhile."""
    lock, hold = tmp_path / "lock", ExitStack()
    hold.enter_context(environments.locked(lock))
    take = f"from pathlib import Path; import environments\nwith environments.locked(Path({str(lock)!r})):\n"
    take += " print('held', flush=True); input()"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "backend")}
    with subprocess.Popen(
        [sys.executable, "-c", take], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as waiter:
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(1)
        hold.close()
        assert waiter.stdout and waiter.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), environments.locked(lock, wait=False):
            pass
        waiter.communicate("\n")
    assert not lock.exists()
