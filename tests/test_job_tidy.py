# SPDX-License-Identifier: GPL-3.0-or-later
"""What is forgotten of old jobs, and what is kept."""

import os
import time
from dataclasses import replace
from pathlib import Path

from tests.scripted_worker import NORMAL
from tests.test_job_queue import drain, photo, queue_of


def test_tidy_keeps_what_may_still_be_wanted(user: Path) -> None:
    jobs = queue_of(user, NORMAL)
    old, new, shown = (jobs.submit({"photos": [str(photo(user))], "out": "o"}) for _ in range(3))
    waiting = jobs.submit({"photos": [str(photo(user))], "out": "o"})
    jobs.cancel(waiting)
    drain(jobs)
    for name in (old, new, shown, waiting):
        (user / "previews" / name).mkdir(parents=True)
        (user / "previews" / name / "a.png").touch()
    for name in (old, waiting):
        for path in (f"jobs/{name}.json", f"logs/{name}.log", f"previews/{name}"):
            if (user / path).exists():
                os.utime(user / path, (1e9, 1e9))
    yesterday = time.time() - 25 * 3600
    os.utime(user / "jobs" / f"{new}.json", (yesterday, yesterday))
    jobs.records.tidy()
    assert {path.stem for path in (user / "jobs").iterdir()} == {new, shown, waiting}
    left = {path.name for path in (user / "previews").iterdir()}
    assert left == {shown, waiting}, "finished heads need none, once no Blender shows how their photos were understood"
    assert not (user / "logs" / f"{old}.log").exists() and (user / "logs" / f"{new}.log").exists()


def test_tidy_forgets_checkpoints_of_what_failed_for_good(user: Path) -> None:
    jobs = queue_of(user, NORMAL)
    name = jobs.submit({"photos": [str(photo(user))], "out": str(user / "me")})
    drain(jobs)
    record = jobs.record(name)
    assert record is not None
    jobs.records.write(replace(record, state="failed", resumable=False))
    checkpoint = user / "me.work" / ("0" * 16) / "checkpoint.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    left = user / "jobs" / "capture-of-the-dead.lock"
    left.touch()
    for path in (left, user / "jobs" / f"{name}.json"):
        os.utime(path, (1e9, 1e9))
    jobs.records.tidy()
    assert not list((user / "jobs").iterdir()) and not checkpoint.parents[1].exists()


def test_tidy_leaves_checkpoints_of_a_job_that_got_the_place_of_one_that_failed(user: Path) -> None:
    jobs = queue_of(user, NORMAL)
    first, second = (jobs.submit({"photos": [str(photo(user))], "out": str(user / "me")}) for _ in range(2))
    jobs.cancel(second)
    drain(jobs)
    jobs.records.unlock()
    record = jobs.record(first)
    assert record is not None
    jobs.records.write(replace(record, state="failed", resumable=False))
    checkpoint = user / "me.work" / ("0" * 16) / "checkpoint.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    os.utime(user / "jobs" / f"{first}.json", (1e9, 1e9))
    jobs.records.tidy()
    assert checkpoint.exists() and [path.stem for path in (user / "jobs").glob("*.json")] == [second]


def test_tidy_forgets_what_no_list_shows_and_films_frames(user: Path) -> None:
    """A head whose photos are gone, with its checkpoints, and frames that a Blender that was killed left behind."""
    jobs = queue_of(user, NORMAL)
    (user / "drive").mkdir()
    mine = photo(user / "drive")
    waiting = jobs.submit({"photos": [str(mine)], "out": str(user / "me")})
    jobs.cancel(waiting)
    drain(jobs)
    jobs.records.unlock()
    checkpoint = user / "me.work" / ("0" * 16) / "checkpoint.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    frames = [user / "previews" / f"capture-{name}" for name in ("old", "new")]
    for folder in frames:
        folder.mkdir(parents=True)
    os.utime(frames[0], (1e9, 1e9))
    os.utime(user / "jobs" / f"{waiting}.json", (1e9, 1e9))
    jobs.records.tidy()
    assert (user / "jobs" / f"{waiting}.json").exists() and not frames[0].exists() and frames[1].exists()
    unplugged = mine.parent.rename(user / "unplugged")
    jobs.records.tidy()
    assert checkpoint.exists(), "its drive may come back"
    unplugged.rename(mine.parent)
    mine.unlink()
    jobs.records.tidy()
    assert not list((user / "jobs").iterdir()) and not checkpoint.exists()
