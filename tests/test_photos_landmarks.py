# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading dense landmarks off faces with a net whose answer is known."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from idto3d.errors import UserError
from idto3d.photos import align
from idto3d.photos.faces import PORTRAIT_SIZE, Face
from idto3d.photos.landmarks import NET_SIZE, read_landmarks

KEYPOINTS = np.array([[520.0, 600], [640, 610], [585, 670], [535, 730], [625, 735]])


def constant_net(path: Path, points: list[list[float]]) -> Path:
    """landmarks.onnx that answers the same for every picture: points 0..1, a deviation of 1 % of the crop, no shape."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, NET_SIZE, NET_SIZE])
    values = {
        "points": np.array(points, np.float32)[None],
        "log_sigma": np.full((1, len(points)), np.log(0.01), np.float32),
        "shape": np.zeros((1, 4), np.float32),
    }
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(v.shape)) for n, v in values.items()]
    nodes = [helper.make_node("Constant", [], [n], value=numpy_helper.from_array(v, name=n)) for n, v in values.items()]
    graph = helper.make_graph(nodes, "net", [image], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def face() -> Face:
    empty = np.zeros((1, 1, 3), np.uint8)
    portrait = np.zeros((PORTRAIT_SIZE, PORTRAIT_SIZE, 4), np.uint8)
    return Face("a", KEYPOINTS, empty, empty, portrait, 0, 0, 9.0, ())


def test_points_come_back_in_pixels_of_the_portrait(tmp_path: Path) -> None:
    """The net is shown the crop of the keypoints; what it puts on a keypoint there lies on it in the portrait."""
    crop = align.crop_transform(KEYPOINTS, NET_SIZE, "face")
    unit = align.pixels_to_unit(align.apply(crop, KEYPOINTS), NET_SIZE)
    (found,) = read_landmarks(constant_net(tmp_path / "landmarks.onnx", unit.tolist()), [face()])
    portrait = align.crop_transform(KEYPOINTS, PORTRAIT_SIZE, "head")
    np.testing.assert_allclose(found.points, align.apply(portrait, KEYPOINTS), atol=1e-3)
    # 1 % of a crop that is 3.7 d wide, in a portrait that is 4.4 d wide
    np.testing.assert_allclose(found.sigma, 0.01 * 3.7 / 4.4 * PORTRAIT_SIZE, rtol=1e-4)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "landmarks.onnx").write_bytes(b"no net")
    with pytest.raises(UserError) as info:
        read_landmarks(tmp_path / "landmarks.onnx", [face()])
    assert info.value.code == "E_PACK_FORMAT"
