# SPDX-License-Identifier: GPL-3.0-or-later
"""The bug report says what happened and not to whom."""

from pathlib import Path

from idto3d_blender.jobs.snapshot import Problem, Snapshot
from idto3d_blender.ui.report import redact, report

HOME = Path("/home/anna.b")


def test_home_folders_and_names_go() -> None:
    text = """File "/home/anna.b/blender/x.py"; by anna.b, ANNA.B; C:\\Users\\Carl\\f.txt C:/Users/Carl/f
/Users/dora/x /home/anna.beta/y /home/anna.b"""
    clean = redact(text, HOME, "anna.b", ["Project Secret", "Secret"])
    for private in ("anna", "Carl", "dora", "ANNA"):
        assert private not in clean, clean
    assert "~/blender/x.py" in clean and "C:/Users/<user>/f" in clean
    assert redact("in /srv/Project Secret/x", HOME, "anna", ["Project Secret", "Secret"]) == "in /srv/<private>/x"


def test_folders_of_photos_go_however_they_are_spelled() -> None:
    photo = r"D:\Clients\Acme Secret\anna.jpg"
    folder = r"D:\Clients\Acme Secret"
    for text in (photo, photo.replace("\\", "\\\\"), photo.replace("\\", "/"), f"PermissionError: {folder}"):
        assert "Acme" not in redact(text, HOME, "x", [photo, folder]), text


def test_ordinary_words_stay() -> None:
    text = "RuntimeError: CUDA out of memory in unet.py line 7; the root cause is not known"
    assert redact(text, HOME, "ed") == text
    assert redact("joanna and annalise", HOME, "anna") == "joanna and annalise"


def test_photo_names_go() -> None:
    assert redact("cannot read wedding.JPG and my-ex.webp", HOME, "x") == "cannot read <photo> and <photo>"
    for ending in (".jpg", ".jpe", ".jfif", ".mpo", ".tif", ".heic", ".HIF", ".avif"):
        assert redact(f"of IMG_0001{ending}, too", HOME, "x") == "of <photo>, too", ending


def test_report_has_what_a_developer_asks(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    lines = [f"line {number}\n" for number in range(200)]
    more = "in /data/shoot/grandma portrait.png\nno folder /data/shoot\nfrom /data/studio/pack/unet\n"
    log.write_text("".join(lines) + more)
    error = Problem("E_NO_FACE", "There is no face in grandma portrait.png.", "Choose another photo.")
    hello = {"torch": "2.0", "device": "cuda", "device_name": "Card", "pid": 3}
    snapshot = Snapshot("j", "failed", log, stage="geometry", step=3, steps=9, error=error, hello=hello)
    request = {
        "photos": ["/data/shoot/grandma portrait.png"],
        "out": "/data/studio/heads",
        "quality": "fine",
        "expressions": "all",
        "prompt": "old",
        "seed": 4,
        "pack": "/data/studio/pack",
    }
    text = report({"Blender": "4.2"}, snapshot, request, [])
    for wanted in (
        "Blender: 4.2",
        "geometry 3/9",
        "E_NO_FACE",
        "torch: 2.0",
        "Card",
        "seed: 4",
        "photos: 1",
        "pack: own",
        "line 199",
    ):
        assert wanted in text, wanted
    for private in ("grandma", "shoot", "studio", "/data", "line 20\n"):
        assert private not in text, private


def test_the_folder_of_the_head_goes_by_its_name_too(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("PermissionError: '/srv/AcmeFilm/heads'\nin 'Anna-Smith.work' of /srv/Acme/b\n")
    error = Problem("E_OUT_BUSY", "Another program is making a head in Anna-Smith.", "Wait until it is done.")
    request = {
        "photos": ["/data/Anna Smith.jpg"],
        "out": "/srv/AcmeFilm/heads/Anna-Smith",
        "pack": "/srv/Acme/pack",
    }
    text = report({}, Snapshot("j", "failed", log, error=error), request, [])
    for private in ("Anna", "Acme"):
        assert private not in text, text
    assert "Another program is making a head in <private>." in text


def test_report_without_a_job() -> None:
    assert report({"Blender": "5.0"}, None, None, ()) == "### Versions\n- Blender: 5.0\n"
