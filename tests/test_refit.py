# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle laid over its photos again: the answer's arrays are the bundle's, and pins move what they hold."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from idto3d.arrays import Array
from idto3d.bundle import to_blender_frame
from idto3d.errors import UserError
from idto3d.finish import assemble
from idto3d.finish.to_bundle import head_arrays
from idto3d.fit.landmarks import LandmarkModel
from idto3d.fit.record import record_fit
from idto3d.fit.result import HeadFit, PhotoFit
from idto3d.photos.load import PhotoFile
from idto3d.protocol import BadRequest, PinRequest, Refit, parse_request
from idto3d.refit import LaidHead, refit
from idto3d_shared.bundle_reader import HeadFiles
from tests.synthetic_face import camera_of, face_of
from tests.tiny_head import tiny_head_model

MODEL = tiny_head_model(columns=48, rows=32)
IDENTITY = np.array([0.5, -0.3, 0.2, 0.0, 0.4, -0.1])
SIZE = 512


def files(tmp_path: Path) -> HeadFiles:
    """A bundle of a head that smiles in its only photo, whose neutral has moved 2 mm since it was fitted."""
    smile = MODEL.expression_vector({"mouthSmile": 0.5})
    zero = np.zeros_like(MODEL.neutral, np.float64)
    camera = replace(camera_of(MODEL, yaw=10, size=SIZE), centre=LandmarkModel.of(MODEL).centre)
    photo = PhotoFit("a.png", camera, smile, zero, np.ones((9, 3)), 0.001, 1.0)
    fit = HeadFit(IDENTITY, zero, np.zeros_like(smile), (photo,))
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    face = face_of(MODEL, camera, fit.posed(MODEL, photo), picture)
    face = replace(face, file=PhotoFile(str(tmp_path / "a.png"), "", SIZE, SIZE))
    neutral = fit.neutral(MODEL)
    neutral[:, 1] += 0.002
    arrays = head_arrays(assemble(MODEL, neutral, {}, np.ones(len(neutral)), {}, None))
    keep = ("vertices", "faces", "uv", "faces_uv", "material", "part", "offsets", "seen", "parts", "expressions",
            "expression_groups")  # fmt: skip
    return HeadFiles(
        tmp_path / "head", 2, **{k: arrays[k] for k in keep}, materials=(), images={}, info={},
        fit=record_fit(MODEL, fit, [face]),
    )  # fmt: skip


@pytest.fixture
def head(tmp_path: Path) -> LaidHead:
    return LaidHead(files(tmp_path), MODEL)


def asked(head: LaidHead, tmp_path: Path, *pins: PinRequest) -> tuple[dict[str, Any], dict[str, Array]]:
    event = refit(head, Refit("j", "b", "f", pins, (str(tmp_path / "a.png"),)), tmp_path / "answers")
    with np.load(event["path"]) as stored:
        return event, dict(stored)


def at_handles(head: LaidHead, answer: dict[str, Array]) -> Array:
    """(H,2) pixels of the handles, by the bundle's own vertices and fit.json's camera."""
    shown = head.files.vertices + answer["moved"] + answer["posed"][0]
    places = np.einsum("kjc,kj->kc", shown[answer["corners"]], answer["weights"])
    return head.fit.photos[0].camera.project(places)[0]


def test_without_pins_the_head_lies_where_it_is(head: LaidHead, tmp_path: Path) -> None:
    event, answer = asked(head, tmp_path)
    assert not answer["moved"].any() and answer["moved"].shape == head.files.vertices.shape
    assert answer["posed"].shape == (1, *head.files.vertices.shape) and answer["skin"].min() >= 0
    handles = [n for line in event["outlines"] for n in line["handles"]]
    assert handles == list(range(len(answer["corners"])))
    # by its own vertices and the photo's expression, 2 mm above the landmarks of the fit
    camera = head.fit.photos[0].camera
    raised = head.fit.photos[0].landmarks - [0, 0.002 * camera.focal / camera.translation[2]]
    distance = np.linalg.norm(at_handles(head, answer)[:, None] - raised, axis=2).min(1)
    assert np.median(distance) < 0.3
    (row,) = event["photos"]
    assert row["name"] == "made-up.png" and row["picture"] is None
    assert np.allclose(row["rotation"], head.fit.photos[0].camera.rotation)


def test_a_pin_moves_the_bundles_own_vertices(head: LaidHead, tmp_path: Path) -> None:
    _, before = asked(head, tmp_path)
    n = 55
    place = at_handles(head, before)[n]
    corners, weights = before["corners"][n].tolist(), before["weights"][n].tolist()
    pin = PinRequest(0, tuple(corners), tuple(weights), (place[0] + 6, place[1]))
    event, after = asked(head, tmp_path, pin)
    camera = replace(
        head.fit.photos[0].camera,
        focal=event["photos"][0]["focal_length_px"],
        principal=np.array(event["photos"][0]["principal_point_px"]),
        rotation=np.array(event["photos"][0]["rotation"]),
        translation=np.array(event["photos"][0]["translation_m"]),
    )
    shown = head.files.vertices + after["moved"] + after["posed"][0]
    pixel, _ = camera.project(np.asarray(weights) @ shown[corners])
    assert np.linalg.norm(pixel - pin.pixel) < 1.0
    assert np.abs(after["moved"]).max() > 1e-4
    assert len(list((tmp_path / "answers").glob("refit-*.npz"))) == len(list((tmp_path / "answers").iterdir())) == 2


def test_a_photo_on_its_side_is_shown_upright(head: LaidHead, tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(SIZE, SIZE, 3)[:, :300])
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    event, _ = asked(head, tmp_path)
    with Image.open(event["photos"][0]["picture"]) as upright:
        assert upright.size == (SIZE, 300)
        assert np.array_equal(np.asarray(upright), np.rot90(np.asarray(picture), -1))


def test_pins_off_the_skin_and_bundles_without_a_fit_are_refused(head: LaidHead, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        asked(head, tmp_path, PinRequest(0, (0, 1, 10**6), (1, 0, 0), (0, 0)))
    assert refused.value.code == "E_FIT_PINS"
    for wrong in (replace(head.files, fit=None), replace(head.files, fit=replace(head.fit, identity=np.zeros(3)))):
        with pytest.raises(UserError) as refused:
            LaidHead(wrong, MODEL)
        assert refused.value.code == "E_REFIT_BUNDLE"


def test_hair_goes_with_the_scalp(tmp_path: Path) -> None:
    given = files(tmp_path)
    tip = given.vertices[np.argmax(given.vertices[:, 2])] + np.array([0, 0, 0.03], np.float32)
    head = LaidHead(replace(given, vertices=np.concatenate([given.vertices, tip[None]])), MODEL)
    lift = np.zeros_like(MODEL.neutral, np.float64)
    lift[:, 1] = 0.004
    assert np.allclose(head.shipped(lift)[-1], to_blender_frame(np.array([0, 0.004, 0])), atol=1e-6)


GOOD = {"type": "refit", "job": "j", "bundle": "b", "folder": "f"}
PIN = {"photo": 0, "corners": [1, 2, 3], "weights": [0.5, 0.25, 0.25], "pixel": [10, 20.5]}


def test_requests_are_read_and_wrong_ones_refused() -> None:
    line = json.dumps({**GOOD, "pins": [PIN], "photos": ["a", ""]}).encode()
    pin = PinRequest(0, (1, 2, 3), (0.5, 0.25, 0.25), (10.0, 20.5))
    assert parse_request(line) == Refit("j", "b", "f", (pin,), ("a", ""))
    wrong: list[dict[str, Any]] = [
        {"pins": 3}, {"pins": [{}]}, {"pins": [{**PIN, "pixel": [1]}]}, {"pins": [{**PIN, "weights": [1, 2, "3"]}]},
        {"pins": [PIN] * 501}, {"photos": "a"}, {"bundle": None}, {"out": 3}, {"other": 1},
        {"pins": [{**PIN, "pixel": [1e300, 0]}]}, {"pins": [{**PIN, "more": 1}]},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(BadRequest):
            parse_request(json.dumps({**GOOD, **change}).encode())
