# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the backend as Blender meets them: killed, hung, nonsense, another version."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from idto3d_blender.jobs import job as job_module
from idto3d_blender.jobs.backend_process import child_environment
from idto3d_blender.jobs.job import Job, Launch, Timeouts
from idto3d_blender.jobs.snapshot import Fit, Problem
from idto3d_blender.ui import progress_text
from tests.scripted_worker import ENDLESS, NORMAL, SHORT, finish, launch_of, started, until

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


@pytest.mark.skipif(sys.platform == "win32", reason="has classes of priority, not numbers")
def test_backend_gives_way_to_the_window(user: Path) -> None:
    job = started(user, 'hello()\nask("shutdown")')
    until(job, lambda: job._process is not None and job._process.popen is not None)
    assert job._process is not None and job._process.popen is not None
    pid = job._process.popen.pid
    least = min(os.getpriority(os.PRIO_PROCESS, 0) + 1, 19)
    until(job, lambda: os.getpriority(os.PRIO_PROCESS, pid) >= least)
    job.kill()


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
    assert snapshot.state == "failed" and snapshot.error == Problem("E_X", "Broken.", "Mend it.")


def test_what_was_understood_and_the_head_so_far(user: Path) -> None:
    """Each photo once, as it was last understood; what does not read as a verdict is counted, and harms nothing."""
    script = (
        'hello(); name = ask("generate")["job"]\n'
        'fit = dict(type="fit", job=name, photo="a.jpg", residual_mm=0.8, yaw=-23.4, pitch=2)\n'
        'say(**fit, verdict="poor", overlay=None)\n'
        'words = dict(reason="Too dark.", expression="mouthSmile_L, mouthSmile_R, jawOpen, browDown_L")\n'
        'say(**{**fit, "photo": "b.jpg"}, **words, verdict="fair", overlay="/b.png", light="warm")\n'
        'say(**fit, verdict="good", expression="")\n'
        'say(**fit, verdict="splendid")\n'
        'say(type="fit", job=name, photo="c.jpg", verdict="good")\n'
        'say(type="sketch", job=name, bundle="/sketch")\n'
        'say(type="done", job=name, bundle="/there")\nask("shutdown")'
    )
    snapshot = finish(started(user, script))
    b, a = snapshot.fits
    assert (b.photo, b.verdict, b.reason, b.overlay) == ("b.jpg", "fair", "Too dark.", Path("/b.png"))
    assert (a.photo, a.verdict, a.overlay) == ("a.jpg", "good", None)
    assert (snapshot.sketch, snapshot.garbage) == (Path("/sketch"), 2)
    assert progress_text.details(b) == "Fits to 0.8 mm, 23° left, smiling"
    assert progress_text.details(a) == "Fits to 0.8 mm, 23° left"
    up = Fit("", "poor", 2.04, 30.0, 12.0)
    assert progress_text.details(up) == "Fits to 2.0 mm, 30° right, 12° up"
    assert {progress_text.verdict(each) for each in (a, b, up)} == set(progress_text._VERDICTS.values())


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_death_from_outside_says_so(user: Path) -> None:
    script = 'hello(); name = ask("generate")["job"]\nprint("some words", file=sys.stderr)\nos.kill(os.getpid(), 9)'
    snapshot = finish(started(user, script))
    assert snapshot.error is not None and snapshot.resumable and snapshot.error.code == "E_BACKEND_DIED"
    assert "stopped from outside" in snapshot.error.message and "some words" not in snapshot.error.message
    assert "checkpoint" in snapshot.error.fix


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


def test_a_log_that_cannot_be_written_stops_nobody(user: Path) -> None:
    (user / "logs").write_text("a file where the folder should be")
    assert finish(started(user, NORMAL)).state == "done"


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


def test_a_problem_is_said_with_its_code() -> None:
    assert Problem("W_X", "It is dark.").said == "It is dark. (W_X)"
    assert Problem("E_X", "It is dark.", "Switch on the light.").said == "It is dark. Switch on the light. (E_X)"
