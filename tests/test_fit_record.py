# SPDX-License-Identifier: GPL-3.0-or-later
"""fit.json: the camera that it holds is the one of the fit, and a damaged one is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idto3d.bundle import read_bundle, to_blender_frame, write_bundle
from idto3d.errors import UserError
from idto3d.fit.camera import PhotoCamera
from idto3d.fit.record import coefficients, from_file, in_photo, record_fit, to_file
from idto3d.fit.result import HeadFit, PhotoFit
from idto3d.photos import align
from idto3d.photos.load import PhotoFile
from idto3d_shared.errors import BundleError
from idto3d_shared.fit_file import MOST_PHOTOS, FitFile, close_up, fit_text, read_fit
from idto3d_shared.photo_names import photo_names
from tests.example_bundle import example
from tests.synthetic_face import camera_of, face_of
from tests.tiny_head import tiny_head_model

MODEL = tiny_head_model()


def recorded() -> tuple[FitFile, PhotoCamera, Any]:
    """A fit of one photo, whose picture was cut out of it, turned by 10 degrees and made 1.7 times smaller."""
    camera = camera_of(MODEL, yaw=20, pitch=-10, roll=8)
    to_picture = align.box_transform([600.0, 500.0], 870.4, 512, 10.0)
    face = replace(
        face_of(MODEL, camera, MODEL.neutral), to_picture=to_picture, file=PhotoFile("/photos/ä.jpg", "ab12", 1200, 900)
    )
    weights = MODEL.expression_vector({"jawOpen": 0.5})
    zero = np.zeros_like(MODEL.neutral)
    photo = PhotoFit("ä.jpg", camera, weights, zero, np.ones((9, 3)), 0.0011, 1.0)
    fit = HeadFit(np.linspace(-1, 1, len(MODEL.identity)), zero, weights * 0.1, (photo,))
    return record_fit(MODEL, fit, [face]), camera, to_picture


def test_the_camera_projects_to_the_photo_what_the_fit_projects_to_the_picture() -> None:
    fit, camera, to_picture = recorded()
    (photo,) = fit.photos
    pixel, depth = photo.camera.project(to_blender_frame(MODEL.neutral).astype(np.float64))
    expected, height = camera.project(MODEL.neutral.astype(np.float64))
    assert np.abs(align.apply(to_picture, pixel) - expected).max() < 1e-3
    assert np.abs(depth - (1 / camera.inverse_distance - height)).max() < 1e-6
    assert np.abs(photo.landmarks - align.apply(align.invert(to_picture), pixel_of_landmarks(camera))).max() < 1e-3


def pixel_of_landmarks(camera: PhotoCamera) -> Any:
    return face_of(MODEL, camera, MODEL.neutral).landmarks


def test_the_close_up_turns_with_a_photo_that_lies_on_its_side() -> None:
    """Photos of 1000 x 1000 pixels, turned by quarters clockwise: (x, y) comes to (999 - y, x)."""
    face = face_of(MODEL, camera_of(MODEL, yaw=15), MODEL.neutral).landmarks
    left, top, side = close_up(face)
    middle = np.array([left, top]) + side / 2
    assert middle[1] < face[:468, 1].mean()  # there is hair over the face
    for _ in range(3):
        face, middle = (np.stack([999 - p[..., 1], p[..., 0]], -1) for p in (face, middle))
        now = close_up(face)
        assert now[2] == pytest.approx(side) and np.allclose(np.array(now[:2]) + side / 2, middle)


def test_a_pinhole_by_hand() -> None:
    """A camera 2 m before the origin, of 1000 pixels: what lies 10 cm to the person's left, on the picture's right,
    and 5 cm up, is 50 and 25 pixels from the middle."""
    camera = to_file(PhotoCamera(np.eye(3), np.zeros(3), 500.0, np.array([320.0, 240.0]), 0.5))
    assert camera.focal == 1000
    pixel, depth = camera.project(np.array([0.1, 0.0, 0.05]))
    assert np.allclose(pixel, [370, 215]) and depth == pytest.approx(2.0)
    assert np.allclose(camera.position, [0, -2, 0])


def test_cameras_come_back_from_the_file() -> None:
    _, camera, to_picture = recorded()
    whole = in_photo(camera, align.invert(to_picture))
    back = from_file(to_file(whole), whole.centre)
    for name in ("rotation", "scale", "shift", "inverse_distance"):
        assert np.allclose(getattr(back, name), getattr(whole, name)), name


def test_a_camera_in_the_head_is_refused() -> None:
    _, camera, to_picture = recorded()
    whole = in_photo(camera, align.invert(to_picture))
    file = to_file(whole)
    for distance in (0.0, -1.0, 0.1):
        near = replace(file, translation=file.translation + [0, 0, distance - 1 / whole.inverse_distance])
        with pytest.raises(UserError, match="E_REFIT_BUNDLE"):
            from_file(near, whole.centre)


def test_a_bundle_carries_the_fit(tmp_path: Path) -> None:
    fit = replace(recorded()[0], pack="/packs/own")
    back = read_bundle(write_bundle(replace(example(), fit=fit), tmp_path / "head")).fit
    assert back is not None and fit_text(back) == fit_text(fit)
    assert back.photos[0].path == "/photos/ä.jpg" and back.photos[0].sha256 == "ab12"
    assert back.pack == "/packs/own"
    assert coefficients(MODEL, back.photos[0].expression) == pytest.approx(MODEL.expression_vector({"jawOpen": 0.5}))
    assert read_bundle(write_bundle(example(), tmp_path / "head")).fit is None  # an older one's does not stay behind


def test_the_largest_photos_and_names_of_old_archives_come_back(tmp_path: Path) -> None:
    fit = recorded()[0]
    (photo,) = fit.photos
    camera = replace(photo.camera, focal=3e5, principal=np.array([2e5, 3.0]))
    (name,) = photo_names(["M\udcfcller/M\udcfcller.jpg"])
    photo = replace(photo, name=name, path="M\udcfcller/M\udcfcller.jpg", width=400_000, camera=camera)
    bundle = write_bundle(replace(example(), fit=replace(fit, photos=(photo,) * MOST_PHOTOS)), tmp_path / "head")
    back = read_bundle(bundle).fit
    assert back is not None and len(back.photos) == MOST_PHOTOS
    (first, *_) = back.photos
    assert (first.name, first.path, first.width) == ("M?ller.jpg", "", 400_000)
    assert (first.camera.focal, first.camera.principal[0]) == (3e5, 2e5)


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "version": lambda v: v.update(format_version=9),
    "no identity": lambda v: v.pop("identity"),
    "text for numbers": lambda v: v.update(identity=["1"]),
    "truth values": lambda v: v.update(identity=[True, False]),
    "far": lambda v: v["photos"][0]["camera"].update(translation_m=[1e30, 0, 0]),
    "no rotation": lambda v: v["photos"][0]["camera"].update(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "mirrored": lambda v: v["photos"][0]["camera"].update(rotation=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "focal": lambda v: v["photos"][0]["camera"].update(focal_length_px=0),
    "landmarks": lambda v: v["photos"][0].update(landmarks=[[1, 2]]),
    "size": lambda v: v["photos"][0].update(size=[0, 10]),
    "path": lambda v: v["photos"][0].update(path=7),
    "photos": lambda v: v.update(photos=[3]),
    "many": lambda v: v.update(photos=v["photos"] * 33),
    "names": lambda v: v.update(resting={"jawOpen": "wide"}),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_damaged_files_are_refused(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    given = json.loads(fit_text(recorded()[0]))
    change(given)
    (tmp_path / "fit.json").write_text(json.dumps(given), encoding="utf-8")
    with pytest.raises(BundleError) as refused:
        read_fit(tmp_path / "fit.json")
    assert refused.value.code == "E_BUNDLE_JSON"


@pytest.mark.parametrize("text", ["", "[]", "7", "[" * 5000, '{"format_version": 1e999}', " " * (2 << 20)])
def test_what_is_no_fit_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "fit.json").write_text(text)
    with pytest.raises(BundleError):
        read_fit(tmp_path / "fit.json")
