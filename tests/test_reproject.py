# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos laid on a pinned head anew: what they show replaces what was there, the rest stays."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from idto3d import reproject as module
from idto3d.bundle import Bundle, read_bundle, write_bundle
from idto3d.errors import UserError
from idto3d.evidence.gather import gather_evidence
from idto3d.finish import assemble
from idto3d.finish.to_bundle import head_arrays, head_of_bundle, with_relief
from idto3d.fit.landmarks import LandmarkModel
from idto3d.fit.record import record_fit
from idto3d.fit.result import HeadFit, PhotoFit
from idto3d.headmodel import HeadModel
from idto3d.photos.load import PhotoFile
from idto3d.protocol import PinRequest, Refit
from idto3d.refit import LaidHead
from idto3d_shared.bundle_reader import read_bundle_files
from tests.synthetic_face import SKIN, camera_of, face_of, photograph
from tests.tiny_head import tiny_head_model

MODEL = tiny_head_model(columns=48, rows=32)
SIZE, MAP = 320, 256
PAINTED = (0.6, 0.62, 0.5)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LaidHead, Refit]:
    """A head painted in one tone, and a photo in which it has a dark stripe across the face."""
    calm, zero = np.zeros(len(MODEL.expression)), np.zeros_like(MODEL.neutral, np.float64)
    camera = replace(camera_of(MODEL, size=SIZE), centre=LandmarkModel.of(MODEL).centre)
    photo = PhotoFit("made-up.png", camera, calm, zero, np.ones((9, 3)), 0.001, 1.0)
    fit = HeadFit(np.zeros(len(MODEL.identity)), zero, calm, (photo,))
    stripe = np.abs(fit.neutral(MODEL)[:, 1] + 0.01) < 0.012
    albedo = np.array(SKIN) * np.where(stripe, 0.3, 1.0)[:, None]
    picture, person = photograph(MODEL, camera, fit.neutral(MODEL), albedo, size=SIZE)
    face = face_of(MODEL, camera, fit.neutral(MODEL), picture, person=person)
    maps = {"skin": np.tile(np.array([*PAINTED, 0.5, 0.35], np.float32), (MAP, MAP, 1))}
    head = assemble(MODEL, fit.neutral(MODEL), {}, np.ones(len(zero)), maps, None)
    bundle = Bundle(
        **head_arrays(head), preview=np.zeros((16, 96, 3), np.uint8), fit=record_fit(MODEL, fit, [face])
    )  # fmt: skip
    folder = write_bundle(bundle, tmp_path / "head")
    monkeypatch.setattr(module, "read_pack", lambda path: SimpleNamespace(path=Path("nowhere")))
    monkeypatch.setattr(module, "load_face_nets", lambda path: None)
    monkeypatch.setattr(module, "read_photo", lambda path: SimpleNamespace(file=None))
    monkeypatch.setattr(module, "find_face", lambda photo, nets: face)
    laid = LaidHead(read_bundle_files(folder), MODEL)
    return laid, Refit("j", str(folder), "f", (), ("a.png",), out=str(tmp_path / "new"))


def project(given: tuple[LaidHead, Refit], *pins: PinRequest) -> Bundle:
    head, request = given
    stages: list[str] = []
    out = module.reproject(head, replace(request, pins=pins), Path("p"), lambda event: stages.append(event["stage"]))
    assert stages == ["reading photos", "reading the photos' colours", "saving"]
    return read_bundle(out)


def test_seen_places_get_the_photos_colour_and_others_keep_theirs(given: tuple[LaidHead, Refit]) -> None:
    new = project(given)
    skin = next(m for m in new.materials if m.name == "skin").albedo.astype(float)
    seen = new.seen_map
    assert seen is not None and (seen > 220).mean() > 0.05
    assert len(skin) == 2 * len(seen)
    seen = seen.repeat(2, 0).repeat(2, 1)
    # the stripe is in the map, what was not seen has not changed, and the head has the tone that it had
    painted = np.array(PAINTED) * 255
    assert np.percentile(skin[seen > 100].mean(1), 1) < 0.93 * painted.mean()
    assert np.abs(np.median(skin[seen > 220], 0) - painted).max() < 8
    assert np.abs(np.median(skin[seen < 5], 0) - painted).max() < 4
    head = next(m for m in new.materials if m.name == "head").albedo.astype(int)
    old = next(m for m in read_bundle(given[1].bundle).materials if m.name == "head").albedo
    assert np.array_equal(head, old)  # it has a map of one colour, which no photo is laid on
    # relief and gloss are the new colours'
    before = next(m for m in read_bundle(given[1].bundle).materials if m.name == "skin")
    after = next(m for m in new.materials if m.name == "skin")
    assert before.normal is not None and after.normal is not None
    assert (before.normal != after.normal)[seen > 100].mean() > 2 * (before.normal != after.normal)[seen == 0].mean()
    np.testing.assert_array_equal(with_relief(after, head_of_bundle(new)).normal, after.normal)
    assert isinstance(before.roughness, float) and isinstance(after.roughness, np.ndarray)
    rough = np.abs(after.roughness - 255 * before.roughness)
    assert np.median(rough[seen > 100]) > 5 > 2 > np.median(rough[seen == 0])
    assert new.fit is not None and np.array_equal(new.vertices, given[0].files.vertices)
    # the pictures are the new head's: before, its preview was black
    assert new.preview.shape[1] == 6 * len(new.preview)
    front = new.preview[:, 2 * len(new.preview) : 3 * len(new.preview)].astype(int)
    assert (np.abs(front - front[0, 0]).max(2) > 20).mean() > 0.1


def test_the_face_at_rest_folds_nothing(given: tuple[LaidHead, Refit], monkeypatch: pytest.MonkeyPatch) -> None:
    """How a face is at rest is in its photos' expressions, too."""
    head, _ = given
    fits: list[HeadFit] = []

    def kept(model: HeadModel, faces: Any, fit: HeadFit, *rest: Any) -> Any:
        fits.append(fit)
        return gather_evidence(model, faces, fit, *rest)

    monkeypatch.setattr(module, "gather_evidence", kept)
    name = MODEL.expression_names[0]
    head.fit.resting[name] = 0.25  # type: ignore[index]
    project(given)
    assert fits[0].resting[0] == 0.25
    rest, posed = fits[0].neutral(MODEL), fits[0].posed(MODEL, replace(fits[0].photos[0], expression=fits[0].resting))
    np.testing.assert_allclose(posed, rest, atol=1e-9)


def test_pins_are_in_the_new_head_and_in_its_fit(given: tuple[LaidHead, Refit]) -> None:
    head, _ = given
    answer = head.answer(head.pull(()))
    corners, weights = answer["corners"][55].tolist(), answer["weights"][55].tolist()
    pixel, _ = head.fit.photos[0].camera.project(np.asarray(weights) @ head.files.vertices[corners])
    pin = PinRequest(0, tuple(corners), tuple(weights), (pixel[0] + 5, pixel[1]))
    new = project(given, pin)
    assert new.fit is not None
    place, _ = new.fit.photos[0].camera.project(np.asarray(weights) @ new.vertices[corners])
    assert np.linalg.norm(place - pin.pixel) < 1.5
    assert np.abs(new.fit.identity - head.fit.identity).max() > 1e-3


def test_what_a_photo_that_is_gone_showed_is_still_seen(given: tuple[LaidHead, Refit], tmp_path: Path) -> None:
    """What photos do not show now has its old colour, and was seen as well as that was."""
    once = project(given)
    assert once.fit is not None and once.seen_map is not None and once.seen_map.min() == 0
    whole = replace(
        once,
        fit=replace(once.fit, photos=once.fit.photos * 2),
        seen=np.maximum(once.seen, 0.7).astype(np.float32),
        seen_map=np.maximum(once.seen_map, 200),
    )
    folder = write_bundle(whole, tmp_path / "whole")
    head = LaidHead(read_bundle_files(folder), MODEL)
    request = replace(given[1], bundle=str(folder), photos=("a.png", ""), out=str(tmp_path / "few"))
    few = project((head, request))
    hidden, shown = once.seen_map == 0, once.seen_map > 255 * module.WELL
    assert few.seen_map is not None and few.seen_map[hidden].min() >= 199
    np.testing.assert_array_equal(few.seen_map[shown], once.seen_map[shown])
    np.testing.assert_allclose(few.seen[once.seen == 0], 0.7, atol=1e-6)


def test_without_a_photo_it_is_refused(given: tuple[LaidHead, Refit]) -> None:
    head, request = given
    with pytest.raises(UserError) as refused:
        module.reproject(head, replace(request, photos=("",)), Path("p"), lambda event: None)
    assert refused.value.code == "E_REFIT_PHOTOS" and not Path(str(request.out)).exists()


@pytest.mark.parametrize("now", ["changed", "gone"])
def test_a_photo_that_is_not_what_it_was_is_refused(
    given: tuple[LaidHead, Refit], monkeypatch: pytest.MonkeyPatch, now: str
) -> None:
    """Cut or turned, it would lie beside the face; the camera is that of the old one."""
    head, request = given
    (photo,) = head.fit.photos
    head.fit = replace(head.fit, photos=(replace(photo, sha256="0" * 64),))

    def read(path: str) -> Any:
        if now == "gone":
            raise UserError("E_PHOTO_MISSING", "There is no file a.png.", "Choose the photo again.")
        return SimpleNamespace(file=PhotoFile(path, "1" * 64, SIZE, SIZE))

    monkeypatch.setattr(module, "read_photo", read)
    with pytest.raises(UserError) as refused:
        module.reproject(head, request, Path("p"), lambda event: None)
    assert refused.value.code == "E_REFIT_PHOTOS" and "begin it again" in refused.value.fix
    assert not Path(str(request.out)).exists()


def test_where_nothing_can_be_written_it_is_told_what_to_do(given: tuple[LaidHead, Refit], tmp_path: Path) -> None:
    """Nobody has chosen the place, so that nobody can choose another."""
    head, request = given
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError) as refused:
        module.reproject(head, replace(request, out=str(tmp_path / "file" / "new")), Path("p"), lambda event: None)
    assert refused.value.code == "E_OUT_NOT_WRITABLE" and "move the head's folder" in refused.value.fix
