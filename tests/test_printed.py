# SPDX-License-Identifier: GPL-3.0-or-later
"""Both command lines where nobody reads what they print, and where that finds no room."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import printed
from environments import for_python
from idto3d import __main__ as command_line
from idto3d.clock import Event, Events
from idto3d.errors import Cancelled

ROOT = Path(printed.__file__).resolve().parents[1]
WORK = "import sys\nwork = lambda *_: [print(n, flush=n == 5) for n in range(9)] and 0\n"
PLAIN = f"{WORK}from printed import printed\nsys.exit(printed(work))"
BUILD = f"{WORK}import build\nbuild.main = work\nsys.exit(build.command_line(['demo']))"
REFUSED = (
    "import sys\nfrom idto3d.__main__ import printed, reporting, stoppable\nfrom idto3d.errors import UserError\n"
    "def work(events):\n raise UserError('E_DISK_FULL', 'The disk is full.')\n"
    "sys.exit(printed(lambda: stoppable(lambda _: reporting(work, True), [], '')))"
)
COMMANDS = (["-c", BUILD], ["-m", "idto3d", "--help"], ["-c", PLAIN], ["-u", "-c", PLAIN], ["-c", REFUSED])


def say(command: list[str], stdout: int) -> tuple[int, str]:
    """Status and stderr."""
    env = for_python({"PYTHONPATH": str(ROOT / "backend")})
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_what_nobody_reads_ends_a_command_without_a_word(command: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert say(command, write) == (printed.UNREAD, "\n" if REFUSED in command else "")
    finally:
        os.close(write)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_said_though_it_is_what_is_printed_to(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        status, said = say(command, full.fileno())
    assert status == 1 and said.strip().startswith("E_DISK_FULL: ") and said.count("\n") == 1 + said.startswith("\n")


def test_a_fault_is_not_hidden_by_a_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> int:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(FileNotFoundError):
        printed.printed(work)


def test_a_job_that_nobody_listens_to_is_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As by a signal: it keeps its checkpoint, and takes the pipe for no fault of a file that it writes meanwhile."""

    def work(events: Events) -> None:
        try:
            events({"type": "done", "bundle": "b"})
        except OSError:
            pytest.fail("taken for a fault of a file")

    def unread(event: Event) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(command_line, "print_json", unread)
    with pytest.raises(Cancelled):
        command_line.reporting(work, True)
    full = OSError(28, "No space left on device")

    def no_room(event: Event) -> None:
        raise full

    monkeypatch.setattr(command_line, "print_json", no_room)
    assert command_line.reporting(lambda events: events({"type": "done"}), True) == 1
    assert capsys.readouterr().err.startswith("E_DISK_FULL: ")
