# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of jobs and its records: what outlives a killed Blender, and what is asked of the backend."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idto3d.worker import LOADING
from idto3d_blender.jobs import jobs as jobs_module
from idto3d_blender.jobs import setup_backend
from idto3d_blender.jobs.backend_process import child_environment
from idto3d_blender.jobs.job import Job, Launch
from idto3d_blender.jobs.jobs import Jobs
from tests.scripted_worker import ENDLESS, NORMAL, ROOT, SHORT, launch_of, until


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


SERVER = """
import os
hello()
print("up", file=sys.stderr)
while True:
    request = ask("generate", "shutdown", "closed")
    if request["type"] != "generate": break
    lines.remove(request)
    name = request["job"]
    if name.endswith("broken"): say(type="error", job=name, code="E_INTERNAL", message="Broken.", fix="")
    else: say(type="done", job=name, bundle=str(os.getpid()))
"""


def server(user: Path) -> tuple[Jobs, Launch]:
    launch = replace(launch_of(user, SERVER), keep=True)
    return Jobs(user, lambda record: launch, SHORT), launch


def serve(jobs: Jobs, user: Path) -> str:
    """The number of the process that did a job."""
    jobs.submit({"photos": [str(photo(user))], "out": "o"})
    drain(jobs)
    assert jobs.finished is not None and jobs.finished.state == "done", jobs.finished
    return str(jobs.finished.bundle)


def test_process_serves_one_job_after_the_other(user: Path) -> None:
    jobs, _ = server(user)
    first = serve(jobs, user)
    left = jobs.warm
    assert left is not None and 0.9 * jobs_module.WARM_SECONDS < left <= jobs_module.WARM_SECONDS
    assert serve(jobs, user) == first
    jobs.cool_down()
    assert jobs.warm is None and serve(jobs, user) != first
    jobs.release()
    assert jobs.warm is None


def test_files_of_the_environment_are_let_go_of_at_once(user: Path) -> None:
    """As Windows wants it before they are removed."""
    jobs, _ = server(user)
    serve(jobs, user)
    warm = jobs._warm
    jobs.end_warm()
    assert warm is not None and warm.process.popen is not None and jobs.warm is None
    assert warm.process.popen.poll() is not None


def test_process_is_started_ahead(user: Path) -> None:
    jobs, launch = server(user)
    jobs.warm_up(launch)
    jobs.warm_up(launch)  # there is one
    warm = jobs._warm
    assert warm is not None and not jobs.busy
    end = time.monotonic() + 20
    while jobs._warm is not None and jobs._warm.hello is None:
        assert time.monotonic() < end
        jobs.poll()
    assert warm.process.popen is not None and serve(jobs, user) == str(warm.process.popen.pid)
    jobs.release()


def test_process_that_waits_is_lent(user: Path) -> None:
    jobs, launch = server(user)
    first = serve(jobs, user)
    lent = jobs.lend(launch)
    assert lent.process.popen is not None and str(lent.process.popen.pid) == first and jobs.warm is None
    assert serve(jobs, user) != first  # a job starts one of its own
    other = jobs.lend(replace(launch, env={**launch.env, "OTHER": "1"}))
    assert other.hello is None and other.process is not lent.process and jobs.warm is None
    for each in (lent, other):
        each.process.close_input()
    jobs.release()


def test_dead_or_other_process_is_not_used(user: Path) -> None:
    jobs, launch = server(user)
    first = serve(jobs, user)
    os.kill(int(first), 9)
    end = time.monotonic() + 20
    while jobs.warm is not None:
        assert time.monotonic() < end
        jobs.poll()
    second = serve(jobs, user)
    assert second != first
    jobs._launch = lambda record: replace(launch, env={**launch.env, "OTHER": "1"})
    assert serve(jobs, user) != second
    jobs.release()


def test_process_without_work_is_sent_home(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "WARM_SECONDS", 0.0)
    jobs, _ = server(user)
    serve(jobs, user)
    jobs.poll()
    assert jobs.warm is None


def test_process_after_something_unexpected_is_not_kept(user: Path) -> None:
    launch = replace(launch_of(user, SERVER, "broken"), keep=True)
    job = Job("broken", launch, SHORT)
    job.start()
    until(job, lambda: job.ended)
    assert job.state == "failed" and job.spare is None and job._gone


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
from idto3d_blender.jobs.backend_process import child_environment
from idto3d_blender.jobs.job import Launch
from idto3d_blender.jobs.jobs import Jobs
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


def test_jobs_of_another_blender(user: Path) -> None:
    """Their place is taken, and they cannot be forgotten from here, as a list that is seconds old would offer."""
    theirs, ours = queue_of(user, ENDLESS), queue_of(user, NORMAL)
    name = theirs.submit({"photos": [str(photo(user))], "out": str(user / "me")})
    checkpoint = user / "me.work" / "0123456789abcdef" / "checkpoint.safetensors"
    checkpoint.parent.mkdir(parents=True)
    (user / "me.work" / "own").mkdir()
    checkpoint.touch()
    assert ours.records.promised() == {str(user / "me")}
    with pytest.raises(KeyError):
        ours.forget(name)
    assert checkpoint.exists() and (user / "jobs" / f"{name}.json").exists()
    assert ours.resumable() == [], "it counts as left behind"
    theirs.release()
    assert ours.records.promised() == {str(user / "me")}, "it may be resumed"
    ours.forget(name)
    assert ours.records.promised() == set() and not checkpoint.exists()
    assert [path.name for path in (user / "me.work").iterdir()] == ["own"]
    assert list((user / "jobs").iterdir()) == []
    ours.submit({"photos": [str(photo(user))], "out": str(user / "me")})
    drain(ours)
    assert ours.records.promised() == set(), "a head that is there is no promise"


def test_user_folder_that_cannot_be_written(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = queue_of(user, NORMAL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(PermissionError(13, "read-only")))
        with pytest.raises(PermissionError):
            jobs.submit({"photos": [str(photo(user))], "out": "o"})
    assert not jobs.busy and list((user / "jobs").iterdir()) == []


def test_last_record_is_written_in_the_end(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that failed once, as on Windows while another Blender reads it, the head is not unfinished for ever."""
    jobs = queue_of(user, NORMAL)
    name = jobs.submit({"photos": [str(photo(user))], "out": "o"})
    replace = os.replace

    failed: list[str] = []

    def refused(source: str, target: str) -> None:
        if not failed and '"state": "done"' in Path(source).read_text(encoding="utf-8"):
            failed.append(target)
            raise PermissionError(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    drain(jobs)
    file = user / "jobs" / f"{name}.json"
    assert failed and json.loads(file.read_text(encoding="utf-8"))["state"] == "done"
    assert jobs.resumable() == []


def test_backend_imports_nothing_from_where_blender_was_started(user: Path) -> None:
    (user / "random.py").write_text("raise SystemExit('a file of the user')")
    env = child_environment(user, user / "nowhere")
    command = [sys.executable, "-s", "-c", "import random"]
    assert subprocess.run(command, env=env, cwd=user, timeout=60).returncode == 0


def test_worker_launch(user: Path) -> None:
    launch = setup_backend.worker_launch(user, "7", {"photos": ["a"], "out": "o", "previews": None})
    assert launch.command[1:] == ("-s", "-m", "idto3d", "worker")
    assert launch.request is not None and launch.request["previews"] == str(user / "previews" / "7")
    assert Path(launch.env["PYTHONPATH"]).name == "backend"


def test_stages_are_the_generators() -> None:
    """A stage without a share would hold the bar still."""
    files = [ROOT / "backend" / "idto3d" / name for name in ("pipeline.py", "start.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    named = {LOADING, *re.findall(r"(?:clock|began|callbacks)\(\"([a-z' ]+)\"", text)}
    assert named == {stage for stage, _ in setup_backend.GENERATE_STAGES}
