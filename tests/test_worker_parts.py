# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's queue, its log, and what it makes of requests and errors, without a process that makes heads."""

import errno
import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import environments
from idto3d import pipeline
from idto3d import worker as worker_module
from idto3d.errors import Cancelled, UserError
from idto3d.pipeline import STARTER_PACK
from idto3d.protocol import QUALITY_NAMES, BadRequest, Cancel, Generate, Shutdown, Task, parse_request
from idto3d.tasks import run_generate
from idto3d.worker import LATER, LOADED, Worker, load

Event = dict[str, Any]
PATIENCE = 120.0  # seconds for one event; a guard against hanging, not a measurement


def serve(run: Callable[[Task, Callable[[Event], None]], Path], *jobs: str) -> list[Event]:
    """Do jobs with `run`, then close; the events."""
    events: list[Event] = []
    worker = Worker(events.append, run)
    for job in jobs:
        worker.take(json.dumps({"type": "generate", "job": job, "photos": ["a"], "out": "nowhere"}).encode())
    thread = threading.Thread(target=worker.work)
    thread.start()
    while sum(e["type"] in ("done", "error", "cancelled") for e in events) < len(jobs):
        assert thread.is_alive()
        thread.join(0.01)
    worker.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return events


def test_hello_names_the_gpu_only_where_torch_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_needs_cuda", lambda: True)
    for driver, device in (("580.65", "cuda"), ("535.1", "cpu")):
        monkeypatch.setattr(worker_module, "find_gpu", lambda driver=driver: environments.Gpu("A GPU", driver, 16.0))
        said = worker_module.hello()
        assert said["device"] == device and (said["device_name"] == "A GPU") == (device == "cuda")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_log_without_room_ends_no_job() -> None:
    """Seen on a full disk: a library's progress bar failed, then the traceback that was to tell of it."""
    code = (
        "import os, sys, traceback, warnings\nfrom idto3d import worker\n"
        "stdin, stdout = worker.take_over_streams()\n"
        "print('x' * 100_000); print('bar', end='\\r', file=sys.stderr, flush=True); warnings.warn('w')\n"
        "try: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()\n"
        "worker.sender(stdout)({'type': 'done'}); sys.stderr.flush(); os._exit(0)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(environments.__file__).parent)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=full, timeout=PATIENCE
        )
    assert (done.returncode, done.stdout) == (0, b'{"type": "done"}\n')


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyError("x"), "E_INTERNAL"),
        (SystemExit(3), "E_INTERNAL"),
        (OSError(errno.EIO, "bad"), "E_INTERNAL"),
        (OSError(errno.ENOSPC, "full"), "E_DISK_FULL"),
        (chained(UserError("E_BUNDLE_WRITE", "not saved"), OSError(errno.ENOSPC, "full")), "E_DISK_FULL"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "E_DISK_FULL"),
        (RuntimeError("I/O error: Disk quota exceeded (os error 122)"), "E_DISK_FULL"),
        (RuntimeError("I/O error: Host is down (os error 112)"), "E_INTERNAL"),
        (MemoryError(), "E_OUT_OF_MEMORY"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), "E_OUT_OF_MEMORY"),
        (torch.OutOfMemoryError("Allocation on device"), "E_OUT_OF_MEMORY"),
        # a graphics card that Blender has filled, before torch has any of it
        (torch.AcceleratorError("CUDA error: out of memory"), "E_OUT_OF_MEMORY"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "E_OUT_OF_MEMORY"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "E_OUT_OF_MEMORY"),
        (ImportError("No module named 'diffusers'"), "E_SETUP"),
        (UserError("E_PACK_HASH", "damaged", "again"), "E_PACK_HASH"),
    ],
)
def test_a_job_that_breaks_is_reported_and_the_next_one_runs(error: BaseException, code: str) -> None:
    def run(request: Task, events: Callable[[Event], None]) -> Path:
        if request.job == "bad":
            raise error
        return Path("head")

    bad, good = (e for e in serve(run, "bad", "good") if e["type"] != "queued")
    assert (bad["type"], bad["job"], bad["code"]) == ("error", "bad", code)
    assert bad["message"].endswith(".") or bad["message"] in ("damaged",)
    assert "\n" not in bad["message"] and (good["type"], good["job"]) == ("done", "good")


def test_a_refused_job_leaves_nothing_in_memory() -> None:
    """A worker that waits does not run Python's garbage collector: what lies in a circle would stay."""
    held: list[Any] = []

    def run(request: Task, events: Callable[[Event], None]) -> Path:
        maps = np.zeros(3)
        held.append(weakref.ref(maps))
        raise UserError("E_NO_FACE", "No face.")

    gc.disable()
    try:
        serve(run, "refused")
        assert held[0]() is None
    finally:
        gc.enable()


def test_cancelled_tells_whether_there_is_something_to_go_on_from() -> None:
    def run(request: Task, events: Callable[[Event], None]) -> Path:
        raise Cancelled(resumable=request.job == "yes")

    ends = [e for e in serve(run, "yes", "no") if e["type"] == "cancelled"]
    assert [(e["job"], e["resumable"]) for e in ends] == [("yes", True), ("no", False)]


def test_a_job_that_waits_is_not_held_up_by_what_it_needs_later(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr("importlib.import_module", imported.append)
    worker = Worker(lambda event: None, lambda request, events: Path("head"))
    load(worker)
    assert imported == [*LOADED, LATER]
    imported.clear()
    worker.take(b'{"type": "generate", "job": "j", "photos": ["a"], "out": "o"}')
    load(worker)
    assert imported == [*LOADED]


def test_requests_are_read() -> None:
    line = {"type": "generate", "job": "j", "photos": ["é"], "out": "o", "seed": 7, "pack": None}
    assert parse_request(json.dumps(line).encode()) == Generate("j", ("é",), "o", seed=7)
    assert parse_request(b'{"type": "cancel", "job": "j"}') == Cancel("j")
    assert parse_request(b'{"type": "shutdown"}') == Shutdown()


@pytest.mark.parametrize(
    ("change", "job"),
    [
        ({"type": None}, None),
        ({"type": ["generate"]}, None),
        ({"job": 3}, None),
        ({"job": ""}, None),
        ({"photos": "a.png"}, "j"),
        ({"photos": [1]}, "j"),
        ({"photos": ["a\0b"]}, "j"),
        ({"photos": ["a", ""]}, "j"),
        ({"out": None}, "j"),
        ({"quality": "best"}, "j"),
        ({"quality": ["fine"]}, "j"),
        ({"expressions": ["smile"]}, "j"),
        ({"prompt": None}, "j"),
        ({"seed": True}, "j"),
        ({"seed": 2**32}, "j"),
        ({"seed": 1.0}, "j"),
        ({"previews": 1}, "j"),
        ({"more": 1}, "j"),
    ],
)
def test_wrong_fields_are_refused_with_the_job_if_it_is_known(change: Event, job: str | None) -> None:
    line = {"type": "generate", "job": "j", "photos": ["a"], "out": "o", **change}
    with pytest.raises(BadRequest) as refused:
        parse_request(json.dumps(line).encode())
    assert refused.value.code == "E_REQUEST" and refused.value.job == job


def test_a_request_becomes_what_the_pipeline_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def generate(photos: Any, out: Any, config: Any, events: Any, previews: Any) -> Path:
        asked.append((photos, out, config, previews))
        if len(asked) == 3:
            raise Cancelled
        return Path("head")

    monkeypatch.setattr(pipeline, "generate", generate)
    plain = Generate("j", ("a.png",), str(tmp_path / "out"))
    chosen = replace(
        plain, pack=str(STARTER_PACK), quality="fine", expressions="smile", prompt="an old man", seed=5, previews="p"
    )
    assert run_generate(plain, print) == run_generate(chosen, print) == Path("head")
    assert asked[0] == (("a.png",), plain.out, pipeline.GenerateConfig(), None)
    wanted = pipeline.GenerateConfig(STARTER_PACK, 5, "smile", "an old man", "fine")
    assert asked[1] == (("a.png",), plain.out, wanted, "p")
    # what it left is what the same job goes on from
    work = pipeline.job_folder(plain.out, plain.photos, pipeline.GenerateConfig())
    (work / "geometry-x").mkdir(parents=True)
    (work / "geometry-x" / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(Cancelled) as stopped:
        run_generate(plain, print)
    assert stopped.value.resumable
    monkeypatch.setattr(pipeline, "generate", lambda *_: (_ for _ in ()).throw(Cancelled()))
    (tmp_path / "pack.json").write_bytes(b"\xff")
    for other in (chosen, replace(plain, pack=str(tmp_path)), replace(plain, pack=str(tmp_path / "none"))):
        with pytest.raises(Cancelled) as stopped:
            run_generate(other, print)
        assert not stopped.value.resumable


def test_qualities_are_the_protocols() -> None:
    assert tuple(pipeline.TEXTURE_SIZES) == QUALITY_NAMES
    assert Generate("j", ("a",), "o").quality == pipeline.GenerateConfig().quality == "standard"
