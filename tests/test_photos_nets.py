# SPDX-License-Identifier: GPL-3.0-or-later
"""The nets of a pack: the shipped ones load, others are refused, and the conversion keeps what a net computes."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from idto3d.errors import UserError
from idto3d.photos import load_face_nets
from idto3d.training import face_nets_pack

SHIPPED = Path(__file__).parents[1] / "backend" / "packs" / "starter" / "photos"


def test_shipped_nets_load_with_their_licence() -> None:
    nets = load_face_nets(SHIPPED)
    assert nets.find_person(np.zeros((256, 256, 3), np.uint8)).shape == (256, 256)
    assert "Apache License" in (SHIPPED / "LICENSE").read_text()
    assert "MediaPipe" in (SHIPPED / "NOTICE").read_text()


def test_a_mirrored_picture_has_the_mirrored_mask() -> None:
    """The net alone is not symmetrical: mirroring some photographs gave a person an ear, or took one."""
    rows, columns = np.mgrid[:256, :256]
    picture = np.full((256, 256, 3), 200, np.uint8)
    picture[np.hypot(rows - 110, columns - 120) < 60] = (190, 140, 110)
    picture[np.hypot(rows - 250, columns - 140) < 90] = (30, 40, 90)
    nets = load_face_nets(SHIPPED)
    person = nets.find_person(picture)
    assert person.max() > 0.2
    np.testing.assert_allclose(nets.find_person(picture[:, ::-1])[:, ::-1], person, atol=1e-5)


@pytest.mark.parametrize("name", ["detector", "landmarks", "blendshapes", "mask"])
def test_a_missing_or_foreign_net_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(SHIPPED, folder)
    file = folder / f"{name}.onnx"
    shutil.copy(folder / ("mask.onnx" if name == "detector" else "detector.onnx"), file)
    with pytest.raises(UserError) as info:
        load_face_nets(folder)
    assert info.value.code == "E_PACK_FORMAT" and file.name in info.value.message
    file.write_bytes(b"no net")
    with pytest.raises(UserError) as info:
        load_face_nets(folder)
    assert info.value.code == "E_PACK_FORMAT" and file.name in info.value.message
    file.unlink()
    with pytest.raises(UserError) as info:
        load_face_nets(folder)
    assert info.value.code == "E_PACK_MISSING" and file.name in info.value.message


def source_net(path: Path, names: list[str]) -> None:
    """A net of one input that doubles it by a large weight, with an output that the pack has no name for."""
    data, *outputs = names
    weight = numpy_helper.from_array(np.full((1, 300), 2.0, np.float32), "weight")
    spare = numpy_helper.from_array(np.ones((1, 300), np.float32), "spare weight")
    nodes = [helper.make_node("Mul", [data, "weight"], [name]) for name in outputs]
    nodes.append(helper.make_node("Add", [data, "spare weight"], ["spare"]))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 300]) for n in [data, *outputs, "spare"]]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], [weight, spare])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_conversion_renames_drops_and_halves(tmp_path: Path) -> None:
    for file, names in face_nets_pack._SOURCES.values():
        source_net(tmp_path / f"{file}.onnx", names)
    (tmp_path / "LICENSE").write_text("terms")
    folder = tmp_path / "photos"
    face_nets_pack.write_face_nets(tmp_path, folder)
    assert sorted(f.name for f in folder.iterdir()) == [
        "LICENSE", "NOTICE", "blendshapes.onnx", "detector.onnx", "landmarks.onnx", "mask.onnx",
    ]  # fmt: skip
    session = onnxruntime.InferenceSession(str(folder / "detector.onnx"), providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == ["boxes", "logits"]
    values = np.linspace(-1, 1, 300, dtype=np.float32)[None]
    np.testing.assert_array_equal(session.run(["logits"], {"image": values})[0], 2 * values)
    weights = onnx.load(folder / "detector.onnx").graph.initializer
    assert [w.data_type for w in weights] == [TensorProto.FLOAT16]
