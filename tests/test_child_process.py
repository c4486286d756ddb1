# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set-up's child processes say, as the codes and first lines that a panel shows."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import child_process
import preflight
import terminal_child
from child_process import Watch, run
from preflight import InstallError


def watch(lines: list[str]) -> Watch:
    """Keeps the log's lines."""
    return Watch(lambda *_: None, lines.append, lambda *_: None)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "E_DISK_SPACE"),
        ("ERROR: Could not install packages due to an OSError: [Errno 122] Disk quota exceeded", "E_DISK_SPACE"),
        ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "E_CHECK"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'", "E_NETWORK"),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", "E_NETWORK"),
        ("[WinError 206] The filename or extension is too long: 'C:\\\\x'", "E_PATH_LENGTH"),
        ("HINT: ... does not have Windows Long Path support enabled", "E_PATH_LENGTH"),
        ("anything else", "E_INSTALL"),
    ],
)
def test_what_a_child_says_becomes_a_code(output: str, code: str) -> None:
    lines: list[str] = []
    command = [sys.executable, "-S", "-c", f"print({output!r}); raise SystemExit(1)"]
    with pytest.raises(InstallError) as caught:
        run(command, watch(lines), "E_INSTALL", "It failed.")
    assert caught.value.code == code and lines == [output]


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate...", "proxy or firewall"),
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407 Authent", "proxy or firewall"),
        ("ImportError: libGL.so.1: cannot open shared object file: No such file", "libGL.so.1"),
        ("ValueError: {odd} numbers", "ValueError: {odd} numbers"),
    ],
)
def test_first_line_of_a_failure_tells_what_it_was(output: str, told: str) -> None:
    """A panel shows no more of it."""
    command = [sys.executable, "-S", "-c", f"print('noise'); print({output!r}); raise SystemExit(1)"]
    with pytest.raises(InstallError) as caught:
        run(command, watch([]), "E_CHECK", "It cannot be loaded.")
    assert told in caught.value.message.splitlines()[0]


def test_no_child_gets_what_the_users_own_python_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: a folder in PYTHONPATH that has another numpy, or a pip of its own."""
    (tmp_path / "pip.py").write_text("raise SystemExit('not this one')")
    look = "import os, pip, sys; print(pip.__name__, *(n for n in os.environ if n in sys.argv[1:]))"
    bends = {"PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "error", "VIRTUAL_ENV": str(tmp_path), "PYTHONINSPECT": "1"}
    command = [sys.executable, "-c", look, *bends]
    for name, value in bends.items():
        monkeypatch.setenv(name, value)
    lines: list[str] = []
    run(command, watch(lines), "E_INSTALL", "It failed.")
    terminal_child.run(command, {}, None, lines.append)
    lines += preflight._answer(command, 60.0, threading.Event()).splitlines()
    assert lines == ["pip"] * 3
    terminal_child.run([*command, "PYTHONPATH"], {"PYTHONPATH": "own"}, None, lines.append)
    assert lines[3:] == ["pip PYTHONPATH"]


@pytest.mark.skipif(sys.platform == "win32", reason="terminals there send no signal")
def test_what_nohup_has_started_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started by it
    try:
        assert child_process.hung_up() == (signal.SIGHUP,)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert child_process.hung_up() == ()
    finally:
        signal.signal(signal.SIGHUP, before)


STOPPED = """
import sys, threading
from child_process import Cancelled, Watch, run
looking, told = Watch(lambda *_: None, lambda line: None, lambda *_: None), sys.argv[1]
def stop():
    with open(told, "a+") as file:
        file.seek(0)
        if file.read() and sys.argv[2] == "cancel":
            looking.cancelled.set()
grandchild = f"import os, time; open({told!r}, 'w').write(str(os.getpid())); time.sleep(60)"
parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
try:
    run([sys.executable, "-S", "-c", parent], looking, "E_INSTALL", "It failed.", tick=stop)
except Cancelled:
    print("cancelled", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are looked for as POSIX has them")
@pytest.mark.parametrize(("leads", "how"), [(False, "cancel"), (True, "cancel"), (True, "killed")])
def test_who_is_stopped_takes_its_children_along(leads: bool, how: str, tmp_path: Path) -> None:
    """Seen: the pip that a venv had started went on writing into what was being cleared away. leads: Blender starts a
    set-up in a session of its own, and ends all of that."""
    told = tmp_path / "child"
    env = {**os.environ, "PYTHONPATH": str(Path(child_process.__file__).parent)}
    command = [sys.executable, "-c", STOPPED, str(told), how]
    process = subprocess.Popen(command, env=env, start_new_session=leads, stdout=subprocess.PIPE, text=True)
    gone = time.monotonic() + 20
    while not (told.exists() and told.read_text()):
        assert time.monotonic() < gone
        time.sleep(0.05)
    if how == "killed":
        os.killpg(process.pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=20)
    assert said == ("" if how == "killed" else "cancelled\n")
    while time.monotonic() < gone and _runs(int(told.read_text())):
        time.sleep(0.05)
    assert not _runs(int(told.read_text()))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
