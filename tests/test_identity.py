# SPDX-License-Identifier: GPL-3.0-or-later
"""Recogniser loading through insightface, pooling and agreement, on tiny nets and hand-computed vectors."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from idto3d import identity
from idto3d import subject as subject_module
from idto3d.errors import UserError
from idto3d.subject import Subject, read_subject


def make_recogniser(path: Path, width: int = 512, size: int = 112, scale: float = 1.0) -> Path:
    """Mean colour (R, G, B in -1..1) in the first three numbers, 0.5 in the fourth, all times scale."""
    weights = np.zeros((3, width), np.float32)
    weights[[0, 1, 2], [0, 1, 2]] = scale
    offsets = np.zeros(width, np.float32)
    offsets[3] = 0.5 * scale
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["input.1", "hw"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offsets"], ["embedding"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", width])],
        [
            numpy_helper.from_array(np.array([2, 3], np.int64), "hw"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(offsets, "offsets"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def unit(*head: float) -> np.ndarray:
    vector = np.zeros(512)
    vector[: len(head)] = head
    return vector / np.linalg.norm(vector)


def crops(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((112, 112, 3), colour, np.uint8) for colour in colours])


def test_embed_by_hand(tmp_path: Path) -> None:
    model = identity.load_recogniser(make_recogniser(tmp_path / "recognition.onnx", scale=40.0))
    # 255 -> 1, 0 -> -1: red is (1, -1, -1, 0.5); a swap of red and blue would show.
    vectors = identity.embed(model, crops((255, 0, 0), (255, 255, 255)))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [unit(1, -1, -1, 0.5), unit(1, 1, 1, 0.5)], atol=1e-6)
    floats = identity.embed(model, crops((255, 0, 0)).astype(np.float32) / 255)
    np.testing.assert_allclose(floats[0], vectors[0], atol=1e-6)
    assert identity.embed(model, crops((0, 0, 0))[:0]).shape == (0, 512)


def test_refusals(tmp_path: Path) -> None:
    for missing in (tmp_path, tmp_path / "absent.onnx"):
        with pytest.raises(UserError, match="E_PACK_MISSING"):
            identity.load_recogniser(missing)
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        identity.load_recogniser(make_recogniser(tmp_path / "landmarks.onnx", size=192))
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        identity.load_recogniser(make_recogniser(tmp_path / "narrow.onnx", width=128))
    (tmp_path / "broken.onnx").write_bytes(b"no net")
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        identity.load_recogniser(tmp_path / "broken.onnx")


def test_useless_vectors_are_refused(tmp_path: Path) -> None:
    model = identity.load_recogniser(make_recogniser(tmp_path / "r.onnx", scale=0.0))
    with pytest.raises(UserError, match="E_RECOGNITION"):
        identity.embed(model, crops((1, 2, 3)))
    with pytest.raises(ValueError, match="crops"):
        identity.embed(model, np.zeros((112, 112, 3)))


def test_pool_by_hand() -> None:
    # Lengths do not count: each photo has one vote. (1,0) and (0,1) pool to (1,1)/sqrt 2.
    pooled = identity.pool([unit(1) * 100, unit(0, 1)])
    np.testing.assert_allclose(pooled, unit(1, 1), atol=1e-7)
    np.testing.assert_allclose(identity.pool([unit(3, 4)]), unit(3, 4), atol=1e-7)
    with pytest.raises(UserError, match="E_RECOGNITION"):
        identity.pool([unit(1), -unit(1)])
    with pytest.raises(ValueError, match="N >= 1"):
        identity.pool(np.zeros((0, 512)))
    with pytest.raises(UserError, match="E_RECOGNITION"):
        identity.pool([np.full(512, np.nan)])


def test_agreement_by_hand() -> None:
    assert identity.agreement([unit(1)]).tolist() == [1.0]
    np.testing.assert_allclose(identity.agreement([unit(1), unit(3, 4)]), [0.6, 0.6], atol=1e-6)
    # a, a, b with a . b = 0: a's cosines are 1 and 0, b's 0 and 0. Lengths do not count.
    np.testing.assert_allclose(identity.agreement([unit(1), 5 * unit(1), unit(0, 1)]), [0.5, 0.5, 0], atol=1e-6)
    assert identity.agreement([unit(0, 1), unit(1), -unit(1)])[0] == 0.0


def test_disagreement_names_every_photo() -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    assert identity.disagreement(names, [0.5, 0.4, 0.3]) == []
    assert identity.disagreement(["a.jpg"], [1.0]) == []
    (notice,) = identity.disagreement(names, [0.5, 0.4, 0.1])
    assert notice.code == "W_PHOTOS_DISAGREE"
    assert all(part in notice.message for part in ("a.jpg 0.50", "b.jpg 0.40", "c.jpg 0.10"))


def test_a_photo_that_the_fit_leaves_out_says_nothing_of_the_person() -> None:
    faces: Any = [object(), object(), object()]
    vectors = np.eye(3, 512, dtype=np.float32)
    vectors[1] = vectors[0]
    subject = Subject(tuple(faces), (), vectors, vectors)
    assert subject.scores[0] < 0.8 and subject.y_id[2] > 0.3
    left = subject.only(faces[:2])
    assert left.faces == tuple(faces[:2]) and left.scores == (1.0, 1.0) and left.y_id[0] == 1


def test_a_photo_and_its_mirror_image_agree_with_others_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """y_id is the photos' alone, as the priors were trained; what each photo shows is judged by both."""
    seen: list[Any] = []

    def told(_: Any, crops: Any) -> Any:
        seen.append(crops)
        return np.stack([unit(1), unit(0, 1)]) if len(seen) == 1 else np.stack([unit(0, 1), unit(1)])

    crops = np.random.default_rng(0).integers(0, 255, (2, 112, 112, 3), np.uint8)
    faces = [SimpleNamespace(name=f"{n}.jpg", crop=crop) for n, crop in enumerate(crops)]
    monkeypatch.setattr(subject_module, "read_faces", lambda photos, nets: (faces, []))
    monkeypatch.setattr(subject_module, "load_recogniser", lambda file: None)
    monkeypatch.setattr(subject_module, "embed", told)
    pack: Any = SimpleNamespace(file=lambda name: tmp_path / name)
    nets: Any = None
    subject = read_subject(["a", "b"], pack, nets)
    np.testing.assert_array_equal(seen[1], crops[:, :, ::-1])
    np.testing.assert_allclose(subject.scores, [1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(subject.y_id, unit(1, 1), atol=1e-6)
    assert subject.notices == ()
