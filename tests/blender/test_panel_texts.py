# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels say, and what they know of the backend, without Blender."""

from pathlib import Path

import numpy as np
import pytest

from idto3d.expressions import EXPRESSIONS
from idto3d_blender.head import expressions
from idto3d_blender.head.bundle import ARKIT
from idto3d_blender.head.prepare import corners_of, prepare
from idto3d_blender.jobs.setup_backend import GENERATE_STAGES, SETUP_STAGES
from idto3d_blender.jobs.snapshot import Snapshot
from idto3d_blender.ui import progress_text
from idto3d_blender.ui.remedies import remedies
from tests.blender import synthetic_bundle as synthetic


def test_expressions_are_the_backends() -> None:
    assert (expressions.NEUTRAL, *expressions.EXPRESSIONS) == tuple(EXPRESSIONS)
    assert expressions.grouped(expressions.EXPRESSIONS) == {expressions.OWN: list(expressions.EXPRESSIONS)}


def test_every_key_has_a_group_and_is_found_by_words() -> None:
    given = ["viseme_PP", "mine", "mouthSmileLeft", "smile", "tongueOut", "mouthSmileRight", "eyeBlinkLeft"]
    assert expressions.grouped(given) == {
        "Whole Face": ["smile"],
        "Eyes": ["eyeBlinkLeft"],
        "Mouth": ["mouthSmileLeft", "mouthSmileRight"],
        "Tongue": ["tongueOut"],
        "Visemes": ["viseme_PP"],
        "Other": ["mine"],
    }
    assert sum(len(names) for names in expressions.grouped(ARKIT).values()) == 52
    assert expressions.OTHERS not in expressions.grouped(ARKIT)
    assert expressions.found(given, "smile") == ["mouthSmileLeft", "smile", "mouthSmileRight"]
    assert expressions.found(given, "LEFT mouth") == ["mouthSmileLeft"]
    assert expressions.found(given, "visemes") == ["viseme_PP"] and expressions.found(given, "nose") == []
    assert [expressions.label(n) for n in ("mouth_left", "jawOpen", "viseme_PP", "mine")] == [
        "Mouth Left", "jawOpen", "viseme_PP", "mine",
    ]  # fmt: skip


def test_sides() -> None:
    assert expressions.missing_sides(["smile", "mouth_left", "jaw_right"]) == {
        "jaw_right": "jaw_left",
        "mouth_left": "mouth_right",
    }
    assert expressions.missing_sides(["mouth_left", "mouth_right", "left"]) == {}


def test_every_stage_has_words() -> None:
    for name, _ in (*GENERATE_STAGES, *SETUP_STAGES):
        assert name in progress_text._STAGES, name


def test_time_left_counts_the_stages_to_come() -> None:
    shares = (("a", 1.0), ("b", 3.0))
    job = Snapshot("j", "running", Path("log"), stage="a", step=50, steps=100, eta_seconds=60.0)
    # 60 s to go in a, of 120; b takes three times as long.
    assert progress_text.time_left(job, shares) == "7 min left"
    assert progress_text.time_left(job, (("a", 1.0),)) == "1 min left"
    assert progress_text.time_left(job, ()) == " "
    assert [progress_text.duration(s) for s in (1, 49, 70, 3600, 7500)] == ["5 s", "50 s", "1 min", "1 h", "2 h 5 min"]


def test_wrap() -> None:
    assert progress_text.wrap("one two three", 8) == ["one two", "three"]
    assert progress_text.wrap("a\nb", 8) == ["a", "b"]


@pytest.mark.parametrize(
    "code", ["E_NO_FACE", "E_FACE_TOO_SMALL", "E_FIT_RESIDUAL", "E_PHOTO_MISSING", "E_PACK_HASH", "E_OUT_OF_MEMORY"]
)
def test_remedies(code: str) -> None:
    assert remedies(code)


def test_no_remedy_for_the_unknown() -> None:
    assert remedies("E_SOMETHING_ELSE") == ()


def test_prepare_arranges_faces_as_blender_has_them(tmp_path: Path) -> None:
    corners, starts = corners_of(np.array([(4, 5, 6, -1), (0, 1, 2, 3), (7, 8, 9, -1)], np.int32))
    assert corners.tolist() == [4, 5, 6, 0, 1, 2, 3, 7, 8, 9] and starts.tolist() == [0, 3, 7]
    assert corners.dtype == starts.dtype == np.int32
    truth = synthetic.head()
    made = prepare(synthetic.write(tmp_path / "a head"))
    assert made.name == "a head" and made.shapes.shape == truth["offsets"].shape
    assert len(made.corner_uv) == len(made.corners) and made.starts[-1] + 4 == len(made.corners)
    assert made.front == (0, 30)
    synthetic.write_png(tmp_path / "a head" / "preview.png", np.zeros((20, 60, 3), dtype=np.uint8))
    assert prepare(tmp_path / "a head").front == (20, 20), "of a strip of squares the second is the front"
