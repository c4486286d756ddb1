# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the backend as Blender meets them: killed, hung, nonsense, another version; the queue and its records."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idto3d_blender import job as job_module
from idto3d_blender import setup_backend
from idto3d_blender.job import Job, Launch, Snapshot, Timeouts, child_environment
from idto3d_blender.jobs import Jobs, Record

ROOT = Path(job_module.__file__).resolve().parents[1]
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


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user folder whose name has what breaks careless code."""
    folder = tmp_path / "Benutzer Ünï 名前"
    folder.mkdir()
    return folder


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


# --- the good case


def test_events_become_the_snapshot(user: Path) -> None:
    job = Job("j", launch_of(user, NORMAL), SHORT)
    assert job.state == "queued"
    job.start()
    assert job.state == "starting"
    seen: list[str] = []
    snapshot = job.wait(0.005, lambda event: seen.append(event["type"]))
    assert seen == ["hello", *["progress"] * 4, "done"]
    assert (snapshot.state, snapshot.bundle, snapshot.fraction) == ("done", Path("/there"), 1.0)
    assert (snapshot.stage, snapshot.step, snapshot.steps) == ("texture", 1, 2)
    assert snapshot.hello is not None and snapshot.hello["device_name"] == "test"
    assert snapshot.error is None and snapshot.garbage == 0


def test_fraction_is_of_the_whole_and_never_falls(user: Path) -> None:
    steps = 'step("geometry", 1, 2); step("texture", 1, 2); step("geometry", 1, 2); step("unheard of", 1, 1)\n'
    job, fractions = started(user, f'hello(); name = ask("generate")["job"]\n{steps}ask("shutdown")'), [0.0]
    while job.snapshot.stage != "unheard of":
        job.poll()
        fractions.append(job.snapshot.fraction)
    assert fractions == sorted(fractions) and job.snapshot.fraction == pytest.approx(0.875)
    job.kill()


def test_previews_and_warnings(user: Path) -> None:
    script = (
        'hello(); name = ask("generate")["job"]\n'
        'say(type="preview", job=name, kind="mesh", path="/a.npz", topology=1)\n'
        'say(type="preview", job=name, kind="picture", path="/a.png")\n'
        'say(type="preview", job=name, kind="mesh", path="/b.npz", topology=2)\n'
        'say(type="preview", job="another", kind="mesh", path="/c.npz", topology=3)\n'
        'say(type="warning", job=name, code="W_X", message="Look.")\n'
        'say(type="error", job=name, code="E_X", message="Broken.", fix="Mend it.")\nask("shutdown")'
    )
    snapshot = finish(started(user, script))
    assert (snapshot.mesh, snapshot.topology, snapshot.picture) == (Path("/b.npz"), 2, Path("/a.png"))
    assert [(each.code, each.message) for each in snapshot.warnings] == [("W_X", "Look.")]
    assert snapshot.state == "failed" and snapshot.error == job_module.Problem("E_X", "Broken.", "Mend it.")


def test_room_made_on_a_full_disk_is_worth_a_resume(user: Path) -> None:
    for code, resumable in (("E_DISK_FULL", True), ("E_OUT_OF_MEMORY", True), ("E_NO_FACE", False)):
        script = f'hello(); say(type="error", job=ask("generate")["job"], code="{code}", message="m", fix="f")'
        assert finish(started(user, script)).resumable is resumable


def test_poll_does_not_wait(user: Path) -> None:
    """Also while the process starts, and with a backlog."""
    job, times = started(user, 'hello(); name = ask("generate")["job"]\nfor i in range(500): step("geometry", i, 500)\n'
                               'say(type="done", job=name, bundle="b"); ask("shutdown")'), []  # fmt: skip
    while not job.ended:
        began = time.perf_counter()
        job.poll()
        times.append(time.perf_counter() - began)
        time.sleep(0.01)
    assert sorted(times)[len(times) // 2] < 0.005
    assert max(times) < 0.5


def test_child_sees_nothing_of_blenders_python(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/blender/python")
    monkeypatch.setenv("PYTHONPATH", "/blender/scripts")
    env = child_environment(user, Path("/ext/backend"))
    assert "PYTHONHOME" not in env and env["PYTHONPATH"] == str(Path("/ext/backend"))
    assert env["PYTHONNOUSERSITE"] == "1" == env["PYTHONUTF8"]
    for name in ("PYTHONPYCACHEPREFIX", "NUMBA_CACHE_DIR"):
        assert user in Path(env[name]).parents


def test_protocol_version_is_the_backends() -> None:
    from idto3d import protocol

    assert job_module.PROTOCOL_VERSION == protocol.PROTOCOL_VERSION


# --- faults


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_at_a_random_moment(user: Path, seed: int) -> None:
    chance = random.Random(seed)
    script = (
        'hello(); name = ask("generate")["job"]\nfor i in range(10**6): step("geometry", i, 10**6); time.sleep(0.002)'
    )
    job = started(user, script)
    end = time.monotonic() + chance.uniform(0.0, 0.4)
    while time.monotonic() < end:
        job.poll()
        time.sleep(0.003)
    assert job._process is not None
    while job._process.popen is None:
        time.sleep(0.001)
    os.kill(job._process.popen.pid, chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]))
    snapshot = finish(job)
    assert snapshot.state == "failed" and snapshot.error is not None
    assert snapshot.error.code == ("E_BACKEND_DIED" if snapshot.hello else "E_BACKEND_START")
    assert snapshot.error.fix and snapshot.resumable


def test_hung_backend_is_killed(user: Path) -> None:
    job = started(user, 'hello(); name = ask("generate")["job"]\nstep("geometry", 1, 9)\ntime.sleep(60)',
                  Timeouts(silence=0.3))  # fmt: skip
    snapshot = finish(job)
    assert snapshot.error is not None and snapshot.error.code == "E_BACKEND_HUNG" and snapshot.resumable


def test_heartbeats_keep_a_slow_step_alive(user: Path) -> None:
    script = (
        'hello(); threading.Thread(target=beat, daemon=True).start()\nname = ask("generate")["job"]\ntime.sleep(2.0)\n'
    )
    job = started(user, script + 'say(type="done", job=name, bundle="b"); ask("shutdown")', Timeouts(silence=1.2))
    assert finish(job).state == "done"


def test_silence_counts_only_while_somebody_listens(user: Path) -> None:
    """Blender renders, or the machine slept: no poll for long is not the backend's fault."""
    job = started(user, ENDLESS, Timeouts(silence=1.5))
    until(job, lambda: job.snapshot.step == 1)
    assert job._polled is not None
    job._polled -= 3600.0
    job.poll()
    assert job.state == "running"
    job.cancel()
    assert finish(job).state == "cancelled"


def test_no_hello_in_time(user: Path) -> None:
    snapshot = finish(started(user, "time.sleep(60)", Timeouts(start=0.3)))
    assert snapshot.error is not None and snapshot.error.code == "E_BACKEND_START"


def test_death_at_start_shows_its_last_words(user: Path) -> None:
    snapshot = finish(started(user, 'raise SystemExit("No module named torch")'))
    assert snapshot.error is not None and snapshot.error.code == "E_BACKEND_START"
    assert "No module named torch" in snapshot.error.message


def test_death_on_the_way_shows_its_last_words(user: Path) -> None:
    script = (
        'hello(); name = ask("generate")["job"]\nfor i in range(99): print("line", i, file=sys.stderr)\nos._exit(3)'
    )
    snapshot = finish(started(user, script))
    assert snapshot.error is not None and snapshot.error.code == "E_BACKEND_DIED"
    assert "status 3" in snapshot.error.message and snapshot.error.message.endswith("line 98")
    assert "line 0" not in snapshot.error.message.splitlines()


def test_garbage_is_counted_and_logged(user: Path) -> None:
    script = (
        'hello(); name = ask("generate")["job"]\n'
        'for line in ("Downloading: 3%", "[1, 2]", "3", "{", \'{"type": 5}\', "[" * 99999):\n'
        "    with lock: print(line, flush=True)\n"
        'with lock: sys.stdout.buffer.write(b"\\xff\\xfe\\0\\n"); sys.stdout.flush()\n'
        'say(type="progress", job=name, stage="geometry")\n'
        'say(type="progress", job=name, stage="x", step="a", steps=[])\n'
        'say(type="unheard of", job=name)\n'
        'say(type="done", job=name, bundle="b"); ask("shutdown")'
    )
    snapshot = finish(started(user, script))
    assert snapshot.state == "done" and snapshot.garbage == 9
    log = snapshot.log.read_text(encoding="utf-8")
    assert "Downloading: 3%" in log and "unreadable event" in log


@pytest.mark.parametrize("version", ["2", "None", "'1'"])
def test_wrong_protocol_version(user: Path, version: str) -> None:
    snapshot = finish(started(user, f"hello({version}); time.sleep(60)"))
    assert snapshot.error is not None and snapshot.error.code == "E_PROTOCOL_VERSION"
    assert "pdate" in snapshot.error.fix


def test_missing_interpreter(user: Path) -> None:
    job = Job("j", Launch((str(user / "no python"),), {}, user / "logs" / "j.log"), SHORT)
    job.start()
    snapshot = finish(job)
    assert snapshot.error is not None and snapshot.error.code == "E_BACKEND_START"
    assert "no python" in snapshot.error.message


def test_log_that_cannot_be_written(user: Path) -> None:
    (user / "logs").write_text("a file where the folder should be")
    snapshot = finish(started(user, NORMAL))
    assert snapshot.error is not None and snapshot.error.code == "E_BACKEND_START"


def test_done_process_that_stays_is_ended(user: Path) -> None:
    script = 'signal.signal(signal.SIGTERM, signal.SIG_IGN); hello(); name = ask("generate")["job"]\n'
    job = started(user, script + 'say(type="done", job=name, bundle="b"); time.sleep(60)')
    until(job, lambda: job.state == "done")
    assert not job.ended, "the next job has to wait for the memory"
    assert finish(job).state == "done"


# --- cancel


def test_cancel_is_cooperative(user: Path) -> None:
    job = started(user, ENDLESS, Timeouts())
    until(job, lambda: job.snapshot.step == 1)
    job.cancel()
    assert job.state == "cancelling"
    snapshot = finish(job)
    assert (snapshot.state, snapshot.resumable, snapshot.error) == ("cancelled", True, None)


def test_cancel_that_is_ignored_ends_in_a_kill(user: Path) -> None:
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); hello(); name = ask('generate')['job']; beat()"
    job = started(user, script)
    until(job, lambda: job.state == "running")
    job.cancel()
    snapshot = finish(job)
    assert (snapshot.state, snapshot.resumable, snapshot.error) == ("cancelled", True, None)


@pytest.mark.parametrize("moment", ["before start", "right after start"])
def test_cancel_at_once(user: Path, moment: str) -> None:
    job = Job("j", launch_of(user, ENDLESS), SHORT)
    if moment != "before start":
        job.start()
    job.cancel()
    assert finish(job).state == "cancelled"


def test_kill_takes_the_children_along(user: Path) -> None:
    script = (
        "import subprocess\nchild = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
    )
    job = started(user, f"{script}hello(); step(str(child.pid), 1, 1); time.sleep(60)")
    until(job, lambda: job.snapshot.stage != "")
    job.kill()
    assert finish(job).state == "cancelled"
    if sys.platform == "linux":
        status = Path(f"/proc/{job.snapshot.stage}/stat")
        end = time.monotonic() + 10
        while status.exists() and status.read_text().split()[2] != "Z":
            assert time.monotonic() < end
            time.sleep(0.02)


def test_release_closes_stdin(user: Path) -> None:
    job = started(user, ENDLESS)
    until(job, lambda: job.snapshot.step == 1)
    job.release()
    until(job, lambda: job._gone)
    assert job._process is not None and job._process.popen is not None
    assert job._process.popen.returncode == 0


# --- queue and records


def photo(user: Path) -> Path:
    file = user / "Foto ä.png"
    file.touch()
    return file


def queue_of(user: Path, script: str) -> Jobs:
    return Jobs(user, lambda record: launch_of(user, script, record.id, dict(record.request)), SHORT)


def drain(jobs: Jobs, seconds: float = 20.0) -> list[dict[str, Any]]:
    events, end = [], time.monotonic() + seconds
    while jobs.busy:
        assert time.monotonic() < end
        events += jobs.poll()
        time.sleep(0.005)
    return events


def test_one_at_a_time_in_order(user: Path) -> None:
    jobs = queue_of(user, NORMAL)
    request = {"photos": [str(photo(user))], "out": "o"}
    names = [jobs.submit(request, {"object": f"Head {i}"}) for i in range(3)]
    assert jobs.current is not None and jobs.current.id == names[0]
    assert [record.id for record in jobs.waiting] == names[1:]
    jobs.cancel(names[1])
    assert [record.id for record in jobs.waiting] == names[2:]
    done = [event["job"] for event in drain(jobs) if event["type"] == "done"]
    assert done == [names[0], names[2]]
    assert jobs.finished is not None and jobs.finished.id == names[2] and jobs.finished.state == "done"
    assert [record.id for record in jobs.resumable()] == [names[1]]
    assert [record.state for name in names if (record := jobs.record(name))] == ["done", "cancelled", "done"]
    assert not list((user / "jobs").glob("*.lock"))


def test_next_job_starts_after_a_failure(user: Path) -> None:
    jobs = queue_of(user, "raise SystemExit(1)")
    first, second = (jobs.submit({"photos": [str(photo(user))], "out": "o"}) for _ in range(2))
    drain(jobs)
    record = jobs.record(second)
    assert record is not None and record.state == "failed" and record.error is not None
    assert record.error["code"] == "E_BACKEND_START"
    assert {each.id for each in jobs.resumable()} == {first, second}


def test_resume_asks_for_the_same(user: Path) -> None:
    jobs = queue_of(user, ENDLESS)
    request = {"photos": [str(photo(user))], "out": "o", "seed": 7}
    name = jobs.submit(request, {"object": "Head"})
    job = jobs.current
    assert job is not None
    while job.snapshot.step < 1:
        jobs.poll()
        time.sleep(0.005)
    jobs.cancel(name)
    drain(jobs)
    again = queue_of(user, NORMAL)  # another Blender
    (record,) = again.resumable()
    assert (record.id, record.state, dict(record.request)) == (name, "cancelled", request)
    assert record.note == {"object": "Head"}
    assert again.resume(name) == name
    drain(again)
    assert again.resumable() == [] and again.finished is not None and again.finished.state == "done"
    with pytest.raises(KeyError):
        again.resume(name)


def test_record_of_a_killed_blender_is_offered_again(user: Path) -> None:
    """A second process submits, and is killed while its job runs."""
    file = photo(user)
    launch_of(user, ENDLESS, "w")
    code = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from idto3d_blender.job import Launch, child_environment
from idto3d_blender.jobs import Jobs
user = Path({str(user)!r})
command = ({sys.executable!r}, "-S", str(user / "worker w.py"))
env = child_environment(user, user)
jobs = Jobs(user, lambda r: Launch(command, env, user / "logs" / (r.id + ".log"), dict(r.request)))
for _ in range(2): jobs.submit({{"photos": [{str(file)!r}], "out": "o"}})
while jobs.current.snapshot.step < 1: jobs.poll(); time.sleep(0.005)
print("running", flush=True)
time.sleep(60)
"""
    blender = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert blender.stdout is not None and blender.stdout.readline() == "running\n"
    jobs = queue_of(user, NORMAL)
    assert jobs.resumable() == [], "its jobs are not ours while it lives"
    blender.kill()
    blender.wait()
    left = jobs.resumable()
    assert sorted(record.state for record in left) == ["queued", "running"]
    assert left[0].created > left[1].created
    for record in left:
        jobs.resume(record.id)
    drain(jobs)
    assert jobs.resumable() == []


def test_release_leaves_the_jobs_to_be_offered(user: Path) -> None:
    jobs = queue_of(user, ENDLESS)
    names = [jobs.submit({"photos": [str(photo(user))], "out": "o"}) for _ in range(2)]
    job = jobs.current
    assert job is not None
    until(job, lambda: job.snapshot.step == 1)
    jobs.release()
    assert not jobs.busy
    until(job, lambda: job._gone)
    assert {record.id for record in queue_of(user, NORMAL).resumable()} == set(names)


def test_only_what_can_be_resumed_is_offered(user: Path) -> None:
    jobs = queue_of(user, "raise SystemExit(1)")
    gone = user / "gone.png"
    gone.touch()
    jobs.submit({"photos": [str(photo(user)), str(gone)], "out": "o"})
    drain(jobs)
    assert len(jobs.resumable()) == 1
    gone.unlink()
    assert jobs.resumable() == []
    folder = user / "jobs"
    (folder / "cut.json").write_text('{"id": "cut", "requ')
    (folder / "other.json").write_text(json.dumps({"id": "x", "request": {}, "created": 1.0}))
    (folder / "future.json").write_text(json.dumps({"id": "future", "request": {}, "created": 1.0, "new": 1}))
    assert jobs.resumable() == []


def test_forget(user: Path) -> None:
    jobs = queue_of(user, NORMAL)
    name = jobs.submit({"photos": [str(photo(user))], "out": "o"})
    waiting = jobs.submit({"photos": [str(photo(user))], "out": "o"})
    for busy in (name, waiting):
        with pytest.raises(ValueError):
            jobs.forget(busy)
    drain(jobs)
    jobs.forget(name)
    assert jobs.record(name) is None
    assert not (user / "jobs" / f"{name}.json").exists() and not (user / "logs" / f"{name}.log").exists()


def test_tidy_keeps_what_may_still_be_wanted(user: Path) -> None:
    jobs = queue_of(user, NORMAL)
    old, new = (jobs.submit({"photos": [str(photo(user))], "out": "o"}) for _ in range(2))
    waiting = jobs.submit({"photos": [str(photo(user))], "out": "o"})
    jobs.cancel(waiting)
    drain(jobs)
    for name in (old, new, waiting):
        (user / "previews" / name).mkdir(parents=True)
        (user / "previews" / name / "a.png").touch()
    for name in (old, waiting):
        for path in (f"jobs/{name}.json", f"logs/{name}.log", f"previews/{name}"):
            if (user / path).exists():
                os.utime(user / path, (1e9, 1e9))
    jobs.tidy()
    assert {path.stem for path in (user / "jobs").iterdir()} == {new, waiting}
    assert {path.name for path in (user / "previews").iterdir()} == {new, waiting}
    assert not (user / "logs" / f"{old}.log").exists() and (user / "logs" / f"{new}.log").exists()


def test_user_folder_that_cannot_be_written(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = queue_of(user, NORMAL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(PermissionError(13, "read-only")))
        with pytest.raises(PermissionError):
            jobs.submit({"photos": [str(photo(user))], "out": "o"})
    assert not jobs.busy and list((user / "jobs").iterdir()) == []


def test_records_are_replaced_whole(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that cannot be written, as on a full disk, leaves the old one and does not stop the job."""
    jobs = queue_of(user, NORMAL)
    name = jobs.submit({"photos": [str(photo(user))], "out": "o"})
    file = user / "jobs" / f"{name}.json"
    before = json.loads(file.read_text(encoding="utf-8"))

    def full(*arguments: object, **named: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        while not (jobs.current is None or jobs.current.state == "done"):
            jobs.poll()
            time.sleep(0.005)
    assert json.loads(file.read_text(encoding="utf-8"))["request"] == before["request"]
    drain(jobs)
    assert jobs.finished is not None and jobs.finished.state == "done"
    assert [path.suffix for path in (user / "jobs").iterdir()] == [".json"]


def test_worker_launch(user: Path) -> None:
    launch = setup_backend.worker_launch(user, "7", {"photos": ["a"], "out": "o", "previews": None})
    assert launch.command[1:] == ("-s", "-m", "idto3d", "worker")
    assert launch.request is not None and launch.request["previews"] == str(user / "previews" / "7")
    assert Path(launch.env["PYTHONPATH"]).name == "backend"


def test_stages_are_the_generators() -> None:
    """A stage without a share would hold the bar still."""
    text = "".join(
        (ROOT / "backend" / "idto3d" / name).read_text(encoding="utf-8")
        for name in ("generate.py", "distill/geometry_stage.py", "distill/texture_stage.py")
    )
    named = set(re.findall(r'(?:clock|progress)\("([a-z ]+)"', text))
    assert named == {stage for stage, _ in setup_backend.GENERATE_STAGES}


def test_record_knows_its_photos(user: Path) -> None:
    assert not Record("a", {"photos": []}, 0.0).photos_exist()
    assert Record("a", {"photos": [str(photo(user))]}, 0.0).photos_exist()
