# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the face: the logic against tiny nets made here, and, where the starter pack has its net, real photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from skimage import data

from idto3d.errors import UserError
from idto3d.photos import Detector, Photo, align, detect, find_face, load_detector, read_faces

PACK = Path(__file__).parents[1] / "backend" / "packs" / "starter"

# A face as the face crop defines it (d = 1/3.7 of the side, eyes 0.2 d above the middle): measuring it again from its
# own crop gives the same points, so both passes agree.
D = 1 / 3.7
TEMPLATE = np.array([[-0.48, -0.2], [0.48, -0.2], [0.0, 0.35], [-0.38, 0.8], [0.38, 0.8]]) * D + 0.5


def make_net(
    path: Path,
    keypoints: np.ndarray = TEMPLATE,
    angles: tuple[float, float] = (5.0, -3.0),
    bias: float = 3.0,
    redness: float = 0.0,
) -> Path:
    """keypoints.onnx whose keypoints and angles are constant and whose logit is bias + redness * mean(red - blue)."""

    def constant(name: str, value: Any) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(value, np.float32), name)

    weights = np.zeros((3, 18), np.float32)
    weights[0, 17], weights[2, 17] = redness, -redness
    offsets = np.concatenate([keypoints.reshape(-1), angles, np.zeros(5), [bias]])
    nodes = [
        helper.make_node("ReduceMean", ["image", "hw"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offsets"], ["all"]),
        helper.make_node("Split", ["all", "split"], ["flat", "yaw_pitch", "rest", "logit"], axis=1),
        helper.make_node("Reshape", ["flat", "shape"], ["keypoints"]),
        helper.make_node("Squeeze", ["logit", "one"], ["face"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [
            helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", 5, 2]),
            helper.make_tensor_value_info("face", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("yaw_pitch", TensorProto.FLOAT, ["N", 2]),
        ],
        [
            constant("weights", weights),
            constant("offsets", offsets),
            numpy_helper.from_array(np.array([2, 3], np.int64), "hw"),
            numpy_helper.from_array(np.array([10, 2, 5, 1], np.int64), "split"),
            numpy_helper.from_array(np.array([-1, 5, 2], np.int64), "shape"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@dataclass(frozen=True)
class Fixed:
    """Stands for the cascade: the same boxes (row, column, side) in every search of an unturned photo."""

    boxes: tuple[tuple[int, int, int], ...]

    def detect_multi_scale(self, img: np.ndarray, **_: Any) -> list[dict[str, int]]:
        return [{"r": r, "c": c, "width": s, "height": s} for r, c, s in self.boxes]


def detector(path: Path, *boxes: tuple[int, int, int], **net: Any) -> Detector:
    loaded = load_detector(make_net(path / "keypoints.onnx", **net))
    return Detector(Fixed(boxes), loaded.session) if boxes else loaded


def photo(image: np.ndarray) -> Photo:
    return Photo(image, "photo.png")


GREY = np.full((300, 400, 3), 100, np.uint8)


def test_keypoints_are_where_the_template_says(tmp_path: Path) -> None:
    # Box of 50 at column 80, row 60: pixels 80..129, so the crop of 1.6 x 50 = 80 runs from edge 64.5 (in pixel
    # centres) horizontally and 44.5 vertically.
    face = find_face(photo(GREY), detector(tmp_path, (60, 80, 50)))
    np.testing.assert_allclose(face.keypoints, TEMPLATE * 80 + [64.5, 44.5], atol=1e-4)
    assert (face.yaw, face.pitch) == pytest.approx((5.0, -3.0))
    assert face.logit == pytest.approx(3.0)
    assert face.crop.shape == (112, 112, 3) and face.head.shape == (128, 128, 3)
    assert [n.code for n in face.notices] == ["W_FACE_SMALL"]  # d = 80 / 3.7 = 21.6 pixels


def test_box_of_a_reduced_photo_is_scaled_back(tmp_path: Path) -> None:
    image = np.full((2400, 3200, 3), 100, np.uint8)
    coarse, scale = detect._grey_copy(image, 360_000)
    assert coarse.shape == (520, 693) and scale == pytest.approx(0.2165, abs=1e-4)
    (box,) = detect.propose(coarse, scale, detector(tmp_path, (99, 99, 52)))
    # Copy pixels 99..150: centre 124.5 -> outer-edge coordinate 125 / scale.
    assert box.centre == pytest.approx((125 / scale - 0.5, 125 / scale - 0.5))
    assert box.side == pytest.approx(52 / scale)


@pytest.mark.parametrize("roll", [-30.0, 15.0, 90.0, 180.0])
def test_turned_search_maps_back(roll: float, tmp_path: Path) -> None:
    """A bright spot placed by the inverse of the turn is found where it was drawn."""

    class Brightest:
        def detect_multi_scale(self, img: np.ndarray, **_: Any) -> list[dict[str, int]]:
            y, x = np.unravel_index(int(cv2.GaussianBlur(img, (11, 11), 0).argmax()), img.shape)
            return [{"r": int(y) - 20, "c": int(x) - 20, "width": 41, "height": 41}]

    grey = np.zeros((240, 360), np.uint8)
    cv2.circle(grey, (250, 70), 6, 255, -1)
    (box,) = detect.propose(grey, 1.0, Detector(Brightest(), None), roll, margin=0.3)
    assert box.centre == pytest.approx((250, 70), abs=2.0)
    assert box.roll == roll


def test_tilted_face_is_measured_upright(tmp_path: Path) -> None:
    net = detector(tmp_path)
    boxes = [detect.Box((200.0, 150.0), 60.0, 30.0)]
    (face,) = detect.verify([GREY], boxes, net)
    assert align.eye_roll(face.keypoints) == pytest.approx(30.0)
    assert face.keypoints[[3, 4]].mean(axis=0)[0] < face.keypoints[[0, 1]].mean(axis=0)[0]  # mouth swings image left


def test_several_faces_the_largest_is_used(tmp_path: Path) -> None:
    face = find_face(photo(GREY), detector(tmp_path, (40, 40, 60), (120, 220, 100), (30, 300, 30)))
    assert "W_SEVERAL_FACES" in [n.code for n in face.notices]
    assert "3 faces" in next(n.message for n in face.notices if n.code == "W_SEVERAL_FACES")
    assert face.keypoints.mean(axis=0) == pytest.approx((269.5, 178), abs=12)


def test_boxes_of_one_face_are_one_face(tmp_path: Path) -> None:
    face = find_face(photo(GREY), detector(tmp_path, (60, 80, 80), (64, 84, 80), (66, 80, 74)))
    assert face.notices == ()


def test_no_face_when_the_net_says_no(tmp_path: Path) -> None:
    for bias in (-5.0, -0.5):  # refused in the first pass; let through by its slack and refused in the second
        with pytest.raises(UserError) as info:
            find_face(photo(GREY), detector(tmp_path, (60, 80, 80), bias=bias))
        assert info.value.code == "E_NO_FACE"


def test_false_box_is_rejected_by_its_own_score(tmp_path: Path) -> None:
    image = GREY.copy()
    image[100:260, 200:360] = (220, 120, 90)  # the "face" is the red one
    net = detector(tmp_path, (20, 20, 70), (130, 230, 90), bias=-3.0, redness=10.0)
    face = find_face(photo(image), net)
    assert face.notices == ()
    assert face.keypoints.mean(axis=0) == pytest.approx((275, 180), abs=12)


def test_answers_that_move_are_no_face(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="E_NO_FACE"):
        find_face(photo(GREY), detector(tmp_path, (60, 80, 80), keypoints=TEMPLATE + [0.12, 0.0]))


def test_plain_pictures_have_no_face(tmp_path: Path) -> None:
    """The true cascade, and a net that says yes to everything: nothing is proposed on these."""
    net = detector(tmp_path)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (100, 1))
    for image in (GREY[:150, :200], np.dstack([ramp] * 3), np.zeros((33, 2000, 3), np.uint8)):
        with pytest.raises(UserError, match="E_NO_FACE"):
            find_face(photo(image), net)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9000), (31, 4000), (4000, 2)])
def test_absurd_sizes(shape: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(UserError) as info:
        find_face(photo(np.zeros((*shape, 3), np.uint8)), detector(tmp_path))
    assert info.value.code == "E_FACE_TOO_SMALL"


def test_too_small(tmp_path: Path) -> None:
    with pytest.raises(UserError) as info:  # d = 1.6 * 20 / 3.7 = 8.6
        find_face(photo(GREY), detector(tmp_path, (60, 80, 20)))
    assert info.value.code == "E_FACE_TOO_SMALL"


@pytest.mark.parametrize(
    ("angles", "code"),
    [
        ((70.0, 0.0), "E"),
        ((-61.0, 0.0), "E"),
        ((0.0, 50.0), "E"),
        ((-40.0, 0.0), "W"),
        ((0.0, -30.0), "W"),
        ((20.0, 10.0), ""),
    ],
)
def test_turned(angles: tuple[float, float], code: str, tmp_path: Path) -> None:
    net = detector(tmp_path, (60, 80, 90), angles=angles)
    if code == "E":
        with pytest.raises(UserError, match="E_FACE_TOO_TURNED"):
            find_face(photo(GREY), net)
    else:
        assert [n.code for n in find_face(photo(GREY), net).notices] == (["W_FACE_TURNED"] if code else [])


def test_plausible_geometry() -> None:
    assert detect.plausible(TEMPLATE)
    # Half profile: eyes and mouth foreshortened, the nose over one eye.
    profile = TEMPLATE.copy()
    profile[:, 0] = 0.5 + (profile[:, 0] - 0.5) * 0.5
    profile[2, 0] = profile[0, 0] - 0.05
    assert detect.plausible(profile)
    for name, broken in {
        "upside down": TEMPLATE * [1, -1] + [0, 1],
        "mirrored": TEMPLATE * [-1, 1] + [1, 0],
        "nose above the eyes": TEMPLATE + np.array([[0, 0], [0, 0], [0, -0.2], [0, 0], [0, 0]]),
        "nose below the mouth": TEMPLATE + np.array([[0, 0], [0, 0], [0, 0.15], [0, 0], [0, 0]]),
        "mouth beside": TEMPLATE + np.array([[0, 0], [0, 0], [0, 0], [0.4, 0], [0.4, 0]]),
        "mouth corners swapped": TEMPLATE[[0, 1, 2, 4, 3]],
        "eyes far apart": TEMPLATE + np.array([[-0.2, 0], [0.2, 0], [0, 0], [0, 0], [0, 0]]),
        "all in one place": np.full((5, 2), 0.5),
        "not finite": TEMPLATE * np.nan,
    }.items():
        assert not detect.plausible(broken), name


def test_pyramid_crop_equals_the_full_one() -> None:
    y, x = np.mgrid[:1801, :2003]
    grey = 127 + 60 * np.sin(x / 40) + 60 * np.cos(y / 35)  # 2 grey levels a pixel at the steepest
    image = np.dstack([np.round(grey).astype(np.uint8)] * 3)
    levels = detect._pyramid(image)
    assert [level.shape[:2] for level in levels] == [(1801, 2003), (900, 1001), (450, 500), (225, 250)]
    m = align.box_transform((1001.3, 877.7), 1400.0, 112, roll=12.0)
    difference = np.abs(detect._warp_from(levels, m).astype(float) - align.warp(image, m, 112))
    assert difference.max() <= 3.0


def test_read_faces_reports_each_photo(tmp_path: Path) -> None:
    net = detector(tmp_path, (60, 80, 90))
    Image.fromarray(GREY).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"")
    faces, notices = read_faces([tmp_path / "bad.png", tmp_path / "good.png"], net)
    assert [f.name for f in faces] == ["good.png"]
    assert [n.code for n in notices] == ["W_PHOTO_SKIPPED"]
    assert "E_PHOTO_UNREADABLE" in notices[0].message and "bad.png" in notices[0].message
    with pytest.raises(UserError, match="E_PHOTO_UNREADABLE"):
        read_faces([tmp_path / "bad.png"], net)
    with pytest.raises(UserError, match="E_PHOTO_MISSING"):
        read_faces([], net)


def test_missing_or_foreign_net(tmp_path: Path) -> None:
    with pytest.raises(UserError) as info:
        load_detector(tmp_path)
    assert info.value.code == "E_PACK_MISSING" and "keypoints.onnx" in info.value.message
    (tmp_path / "keypoints.onnx").write_bytes(b"no net")
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        load_detector(tmp_path)
    model = onnx.load(make_net(tmp_path / "keypoints.onnx"))
    del model.graph.output[2]
    onnx.save(model, tmp_path / "keypoints.onnx")
    with pytest.raises(UserError) as info:
        load_detector(tmp_path)
    assert info.value.code == "E_PACK_FORMAT" and "keypoints" in info.value.message


# Real photos. Each face: (x, y) of the eye midpoint and the eye-mouth distance in pixels, read off by eye.


def sample(name: str) -> np.ndarray:
    insightface = pytest.importorskip("insightface")
    with Image.open(Path(insightface.__file__).parent / "data" / "images" / name) as image:
        return np.asarray(image.convert("RGB"))


def real_photos() -> dict[str, tuple[np.ndarray, list[tuple[float, float, float]]]]:
    people = [(105, 312, 57), (303, 201, 45), (516, 322, 62), (788, 392, 51), (930, 120, 57), (1175, 323, 47)]
    return {
        "astronaut": (data.astronaut(), [(225, 112, 38)]),
        "t1": (sample("t1.jpg"), [(float(x), float(y), float(d)) for x, y, d in people]),
        "hanks": (sample("Tom_Hanks_54745.png"), [(56, 52, 40)]),
    }


@pytest.mark.parametrize("name", ["astronaut", "t1", "hanks"])
def test_cascade_proposes_every_real_face(name: str, tmp_path: Path) -> None:
    image, faces = real_photos()[name]
    boxes = detect.propose(*detect._grey_copy(image, 360_000), detector(tmp_path), scale_step=1.1)
    for x, y, d in faces:
        side = align.FACE_CROP[0] * d / detect.BOX_MARGIN
        near = [b for b in boxes if np.hypot(b.centre[0] - x, b.centre[1] - y - 0.2 * d) < 0.2 * side]
        assert any(0.7 < b.side / side < 1.4 for b in near), (x, y)


@pytest.mark.skipif(not (PACK / "keypoints.onnx").is_file(), reason="the starter pack has no keypoints.onnx yet")
@pytest.mark.parametrize("name", ["astronaut", "t1", "hanks"])
def test_real_photos(name: str) -> None:
    """Every face is found, at the right place, and no lamp, shirt or glass is."""
    image, faces = real_photos()[name]
    found = detect.detect_faces(image, load_detector(PACK))
    for x, y, d in faces:
        eyes = [f.keypoints[:2].mean(axis=0) for f in found]
        assert sum(bool(np.hypot(e[0] - x, e[1] - y) < 0.5 * d) for e in eyes) == 1, (x, y)
    assert len(found) == len(faces)


@pytest.mark.skipif(not (PACK / "keypoints.onnx").is_file(), reason="the starter pack has no keypoints.onnx yet")
@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick", "page"])
def test_pictures_without_people(name: str) -> None:
    image = getattr(data, name)()
    rgb = np.dstack([image] * 3) if image.ndim == 2 else image[..., :3]
    assert detect.detect_faces(np.ascontiguousarray(rgb), load_detector(PACK)) == []
