# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that speaks the protocol and does as a test's script says, and jobs that run it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idto3d_blender.jobs.backend_process import child_environment
from idto3d_blender.jobs.job import Job, Launch, Timeouts
from idto3d_blender.jobs.snapshot import Snapshot

ROOT = Path(__file__).resolve().parents[1]
STAGES = (("geometry", 3.0), ("texture", 1.0))
SHORT = Timeouts(start=10.0, silence=10.0, cancel=0.3, terminate=0.3, finish=0.3)

# A worker that does as its script says, a line of Python a step, after the real one's manner.
WORKER = """
import json, os, signal, sys, threading, time
lock, lines = threading.Lock(), []
def say(**event):
    with lock:
        sys.stdout.write(json.dumps(event) + "\\n"); sys.stdout.flush()
def hello(protocol=1): say(type="hello", protocol=protocol, device="cpu", device_name="test")
def listen():
    for line in sys.stdin: lines.append(json.loads(line))
    lines.append({"type": "closed"})
threading.Thread(target=listen, daemon=True).start()
def ask(*kinds, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for line in lines:
            if line["type"] in kinds: return line
        time.sleep(0.005)
    return {}
def step(stage, at, of): say(type="progress", job=name, stage=stage, step=at, steps=of, eta_seconds=1.0)
def beat():
    while True: say(type="heartbeat"); time.sleep(0.05)
name = None
"""
NORMAL = """
hello()
name = ask("generate")["job"]
for i in range(3): step("geometry", i + 1, 3)
step("texture", 1, 2)
say(type="done", job=name, bundle="/there")
ask("shutdown")
"""
ENDLESS = """
hello()
name = ask("generate")["job"]
threading.Thread(target=beat, daemon=True).start()
step("geometry", 1, 100)
if ask("cancel", "closed")["type"] == "cancel": say(type="cancelled", job=name, resumable=True)
ask("shutdown", "closed")
"""


def launch_of(user: Path, script: str, name: str = "j", request: dict[str, Any] | None = None) -> Launch:
    file = user / f"worker {name}.py"
    file.write_text(WORKER + script, encoding="utf-8")
    asked = {"photos": [], "out": "o"} if request is None else request
    # No site: the interpreter starts faster, and the fake needs none.
    command = (sys.executable, "-S", str(file))
    return Launch(command, child_environment(user, ROOT), user / "logs" / f"{name}.log", asked, STAGES)


def started(user: Path, script: str, timeouts: Timeouts = SHORT) -> Job:
    job = Job("j", launch_of(user, script), timeouts)
    job.start()
    return job


def until(job: Job, condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, job.snapshot
        job.poll()
        time.sleep(0.005)


def finish(job: Job) -> Snapshot:
    until(job, lambda: job.ended)
    popen = job._process.popen if job._process else None
    assert popen is None or popen.returncode is not None
    return job.snapshot
