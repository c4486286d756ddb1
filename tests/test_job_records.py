# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of jobs on the disk: whole, held by one process, tidied."""

import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from idto3d_blender.jobs.records import SETTING_UP, Record, Records
from tests.scripted_worker import NORMAL
from tests.test_job_queue import drain, photo, queue_of


def test_drive_without_locks(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network drives are: that is no other Blender."""
    module = pytest.importorskip("fcntl")

    def unknown(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module, "flock", unknown)
    jobs = queue_of(user, NORMAL)
    jobs.submit({"photos": [str(photo(user))], "out": "o"})
    drain(jobs)
    assert jobs.finished is not None and jobs.finished.state == "done" and jobs.resumable() == []


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


def test_other_work_with_the_backend_is_seen(user: Path) -> None:
    mine, other = Records(user), Records(user)
    let_go = mine.hold("capture-1")
    assert other.others_at_work() and not mine.others_at_work()
    let_go()
    assert not other.others_at_work() and not list((user / "jobs").iterdir())


def test_a_set_up_elsewhere_is_seen(user: Path) -> None:
    mine, other = Records(user), Records(user)
    let_go = mine.hold(SETTING_UP)
    assert other.others_setting_up() and other.others_at_work() and not mine.others_setting_up()
    let_go()
    assert not other.others_setting_up()


def test_a_finished_head_leaves_the_pictures_of_its_photos_for_a_day(user: Path) -> None:
    records = Records(user)
    previews = user / "previews" / "1"
    (previews / "sketch").mkdir(parents=True)
    for name in ("fit-000001.png", "mesh-000007.npz", "sketch/head.npz"):
        (previews / name).write_text("")
    work = user / "heads" / "me.work"
    work.mkdir(parents=True)
    record = Record("1", {"photos": [], "out": str(user / "heads" / "me")}, 0.0, state="cancelled")
    records.write(record)
    records.tidy_after("1")
    assert len(list(previews.iterdir())) == 3 and work.exists(), "it can be resumed"
    records.write(replace(record, state="failed", resumable=False))
    records.tidy_after("1")
    assert len(list(previews.iterdir())) == 3 and not work.exists()
    records.write(replace(record, state="done"))
    records.tidy_after("1")
    assert [path.name for path in previews.iterdir()] == ["fit-000001.png"]
    Records(user).tidy()
    assert previews.exists(), "the Blender that has made it still shows them when another one starts"
    yesterday = time.time() - 25 * 3600
    os.utime(user / "jobs" / "1.json", (yesterday, yesterday))
    records.tidy()
    assert not previews.exists() and (user / "jobs" / "1.json").exists()


def test_record_knows_its_photos(user: Path) -> None:
    assert not Record("a", {"photos": []}, 0.0).photos_exist()
    assert Record("a", {"photos": [str(photo(user))]}, 0.0).photos_exist()
