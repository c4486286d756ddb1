# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker: one real process through a whole session. Its parts on their own: test_worker_parts.py."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import environments
from idto3d.bundle import validate
from idto3d.protocol import PROTOCOL_VERSION
from idto3d.worker import LOADING
from tests.quick_pack import quick_pack

Event = dict[str, Any]
PATIENCE = 120.0  # seconds for one event; a guard against hanging, not a measurement

# The real worker, with small maps, and with libraries that print where only events may stand.
NOISY = """
import os, sys
import idto3d.pipeline as p
import idto3d.live as live
p.TEXTURE_SIZES.update(dict.fromkeys(p.TEXTURE_SIZES, 256))
live.MESH_SECONDS = live.PICTURE_SECONDS = 1e9  # previews only where they must come, however slow the machine
def noisy(*arguments, whole=p.generate):
    print("noise from a library")
    os.write(1, b"noise from its C code\\n")
    return whole(*arguments)
p.generate = noisy
from idto3d.worker import main
sys.exit(main())
"""


class Process:
    """A worker process and what it said."""

    def __init__(self, *arguments: str) -> None:
        path = str(Path(__file__).resolve().parents[1] / "backend")
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.events: list[Event] = []
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def send(self, *requests: Event | bytes) -> None:
        assert self.process.stdin is not None
        for request in requests:
            self.process.stdin.write(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def wait_for(self, wanted: Callable[[Event], bool]) -> Event:
        while line := self._lines.get(timeout=PATIENCE):
            self.events.append(json.loads(line))
            if wanted(self.events[-1]):
                return self.events[-1]
        raise AssertionError(f"the worker ended first; it said {self.events[-5:]}")

    def end(self) -> int:
        """Close stdin, take in the rest, return the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        while line := self._lines.get(timeout=PATIENCE):
            self.events.append(json.loads(line))
        return self.process.wait(PATIENCE)


@dataclass
class Session:
    folder: Path
    events: list[Event] = field(default_factory=list)
    status: int = -1

    def of(self, job: str | None, *types: str) -> list[Event]:
        return [e for e in self.events if "job" in e and e["job"] == job and (not types or e["type"] in types)]


def finishes(job: str) -> Callable[[Event], bool]:
    return lambda e: e.get("job") == job and e["type"] in ("done", "error", "cancelled")


def reaches(job: str, step: int) -> Callable[[Event], bool]:
    return lambda e: (e.get("job"), e.get("stage")) == (job, "geometry") and e["step"] >= step


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Garbage; a photo that is not there; a place that cannot be; a whole job with two behind it, one dropped while it
    waits; the other cancelled in mid-stage, asked for again, and left alone by a Blender that dies."""
    from skimage import data

    folder = tmp_path_factory.mktemp("a folder with spaces é ü 頭")
    photo = folder / "Käthe Müller.png"
    Image.fromarray(data.astronaut()).save(photo)
    (folder / "file").write_text("")
    pack = quick_pack(folder / "pack", fine=200)

    def job(name: str, **more: Any) -> Event:
        request = {"type": "generate", "job": name, "photos": [str(photo)], "out": str(folder / name)}
        return {**request, "pack": str(pack), "quality": "draft", "expressions": "smile", **more}

    process = Process("-c", NOISY)
    try:
        process.send(b"no JSON\n", b"\xff\xfe\n", b"[1]\n", b"\n", {"type": "dance"}, {"type": "cancel"})
        process.send(job("typo", colour="red"), job("negative", seed=-1))
        process.send(job("missing", photos=[str(folder / "nobody.png")]), job("blocked", out=str(folder / "file/head")))
        process.send(job("whole", previews=str(folder / "previews")), job("long", quality="fine"), job("dropped"))
        process.send(job("whole"), {"type": "cancel", "job": "dropped"})
        process.wait_for(finishes("whole"))
        process.wait_for(reaches("long", 2))
        process.send({"type": "cancel", "job": "long"})
        process.wait_for(finishes("long"))
        process.send(job("long", quality="fine"))
        process.wait_for(reaches("long", 0))
        status = process.end()
    finally:
        process.process.kill()
    return Session(folder, process.events, status)


def test_hello_comes_first_and_the_heart_beats(session: Session) -> None:
    hello = session.events[0]
    assert hello["type"] == "hello" and hello["protocol"] == PROTOCOL_VERSION
    assert hello["torch"] == torch.__version__ and hello["device"] == "cpu"
    assert hello["cores"] >= 1 and hello["memory_gb"] > 0 and hello["device_name"]
    assert sum(e["type"] == "heartbeat" for e in session.events) >= 3


def test_lines_that_are_no_request_are_refused_and_the_worker_lives_on(session: Session) -> None:
    codes = [e["code"] for e in session.of(None) if e["type"] == "error"]
    assert codes == ["E_REQUEST"] * 6  # five lines, and `whole` asked for twice
    for job in ("typo", "negative"):
        (error,) = session.of(job)
        assert (error["type"], error["code"]) == ("error", "E_REQUEST") and error["message"] and error["fix"]


def test_expected_failures_have_their_code(session: Session) -> None:
    for job, code in (("missing", "E_PHOTO_MISSING"), ("blocked", "E_OUT_NOT_WRITABLE")):
        error = session.of(job)[-1]
        assert (error["type"], error["code"]) == ("error", code) and error["fix"]


def test_a_job_runs_from_queued_to_done(session: Session) -> None:
    events = session.of("whole")
    assert events[0]["type"] == "queued" and events[-1]["type"] == "done"
    validate(events[-1]["bundle"])
    assert Path(events[-1]["bundle"]) == (session.folder / "whole").resolve()
    steps = [(e["stage"], e["step"]) for e in session.of("whole", "progress")]
    wanted = [("reading photos", 0), ("geometry", 0), ("geometry", 1), ("texture", 0), ("texture", 1), ("saving", 0)]
    assert [s for s in steps if s in wanted] == wanted
    for event in session.of("whole", "progress"):
        assert set(event) == {"type", "job", "stage", "step", "steps", "eta_seconds"}
        assert 0 <= event["step"] <= event["steps"]


def test_previews_show_the_head_before_it_is_there(session: Session) -> None:
    events = session.of("whole")
    first_step = next(i for i, e in enumerate(events) if e.get("stage") == "geometry")
    told = [e.get("kind", e["type"]) for e in events[:first_step] if e["type"] in ("fit", "preview")]
    assert told == ["fit", "mesh", "picture"]
    (fit,), (sketch,) = session.of("whole", "fit"), session.of("whole", "sketch")
    assert fit["photo"] == "Käthe Müller.png" and Path(fit["overlay"]).is_file()
    validate(sketch["bundle"])
    assert Path(sketch["bundle"]).parent == session.folder / "previews"
    mesh = next(e for e in events if e.get("kind") == "mesh")
    assert isinstance(mesh["topology"], int)
    shown, rough = np.load(mesh["path"]), np.load(Path(sketch["bundle"]) / "head.npz")
    assert shown["vertices"].dtype == np.float32 and shown["faces"].dtype == np.int32
    np.testing.assert_array_equal(shown["faces"], rough["faces"])
    # The sketch has keys, for whose sake its lids stand out by a millimetre, and its tongue lies elsewhere.
    tongue = json.loads((Path(sketch["bundle"]) / "head.json").read_text())["parts"].index("tongue")
    moved = np.abs(shown["vertices"] - rough["vertices"]).max(1)
    moved[rough["faces"][rough["part"] == tongue]] = 0
    assert moved.max() < 0.002
    assert shown["colours"].dtype == np.uint8 and shown["colours"].shape == shown["vertices"].shape


def test_jobs_wait_for_their_turn(session: Session) -> None:
    assert [e["position"] for e in session.of("long", "queued")][-2:] == [0, 0]  # its turn, and again when resumed
    positions = [e["position"] for e in session.of("dropped", "queued")]
    assert positions == sorted(positions, reverse=True) and positions[-1] > 0
    assert [e["type"] for e in session.of("dropped")][-1] == "cancelled"
    assert not session.of("dropped", "progress")
    done = session.events.index(session.of("whole", "done")[0])
    assert all(session.events.index(e) > done for e in session.of("long", "progress"))


def test_a_cancelled_job_goes_on_where_it_was(session: Session) -> None:
    events = session.of("long", "progress", "cancelled")
    cancelled = next(e for e in events if e["type"] == "cancelled")
    assert cancelled["resumable"] is True
    at = events.index(cancelled)
    last = max(e["step"] for e in events[:at] if e.get("stage") == "geometry")
    resumed = next(e["step"] for e in events[at:] if e.get("stage") == "geometry")
    assert last <= resumed <= last + 1 and resumed >= 2  # not a step is lost, though four lie between checkpoints


def test_closed_stdin_ends_the_worker_with_a_checkpoint(session: Session) -> None:
    assert session.status == 0
    assert not (session.folder / "long").exists()
    assert list((session.folder / "long.work").rglob("checkpoint.safetensors"))
    assert not list(session.folder.glob(".*.tmp-*"))


@pytest.mark.parametrize("how", ["closed", "shutdown", "terminated"])
def test_an_idle_worker_ends_when_told(how: str) -> None:
    if how == "terminated" and os.name == "nt":
        pytest.skip("SIGTERM ends a process at once there")
    worker = Process("-m", "idto3d", "worker")
    try:
        worker.wait_for(lambda e: e["type"] == "hello")
        worker.wait_for(lambda e: e["type"] == "progress" and e["job"] is None and e["stage"] == LOADING)
        if how == "shutdown":
            worker.send({"type": "shutdown"})
        elif how == "terminated":
            worker.process.send_signal(signal.SIGTERM)
        if how != "closed":
            assert worker.process.wait(PATIENCE) == 0
        assert worker.end() == 0
    finally:
        worker.process.kill()


def test_each_job_has_a_log_of_its_own(tmp_path: Path) -> None:
    """A line of Python and one of a child process, of two jobs in one process."""
    code = (
        "import json, os, sys; from pathlib import Path; from idto3d import worker\n"
        "def run(request, events):\n"
        "    print('python', request.job); os.system('echo native ' + request.job)\n"
        "    return Path('x')\n"
        "worker.take_over_streams()\n"
        "w = worker.Worker(lambda event: None, run)\n"
        "for job in sys.argv[1:]:\n"
        "    asked = {'type': 'generate', 'job': job, 'photos': ['a'], 'out': 'o', 'log': job + '.log'}\n"
        "    w.take(json.dumps(asked).encode())\n"
        "w._do(w._jobs[0]); w._do(w._jobs[1])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(environments.__file__).parent)}
    subprocess.run([sys.executable, "-c", code, "a", "b"], cwd=tmp_path, env=environment, check=True, timeout=60)
    logs = {file.name: file.read_text().split() for file in tmp_path.iterdir()}
    assert logs == {f"{job}.log": ["python", job, "native", job] for job in "ab"}
