# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the face: candidate boxes from a classical cascade, each verified and measured by the pack's small net.

OpenCV 5 ships no cascades; scikit-image bundles the LBP frontal cascade (Liao et al., ICB 2007), which finds faces and
also lamps and shirts. The net rejects those and gives five keypoints, twice: the second time on a crop centred and
turned upright by its own first answer. An answer that moves much between the two is no face either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from idto3d.errors import UserError
from idto3d.photos import align

KEYPOINTS_FILE = "keypoints.onnx"
_OUTPUTS = ("keypoints", "face", "yaw_pitch")

NET_SIZE = 112
# The net's first crop is this many times the cascade's box.
BOX_MARGIN = 1.6
# Logits of being a face: a first look through a rough crop is given some slack.
FIRST_FACE_LOGIT = -3.0
FACE_LOGIT = 0.0
# Largest keypoint movement between the two passes, in units of the eye-mouth distance.
MAX_MOVEMENT = 0.35

_WINDOW = 24  # the cascade's own window, pixels
_MIN_FACE_SHARE = 0.06  # of the shorter side of the searched image
# Single hits count and only near-equal boxes merge: the default settings lose half-turned faces and join neighbours,
# while the net rejects the many false boxes in a millisecond each.
_MIN_NEIGHBOURS = 1
_MERGE_OVERLAP = 0.8
_COARSE_PIXELS = 360_000
_TILTED_PIXELS = 120_000
_FINE_PIXELS = 1_500_000
# Strips over about ten times as long as high are not searched for tilted faces: the turned canvas is mostly empty.
_MAX_GROWTH = 4.0
_BATCH = 32


@dataclass(frozen=True)
class Detector:
    """What finds faces: scikit-image's cascade and the onnxruntime session of keypoints.onnx."""

    cascade: Any
    session: Any


@dataclass(frozen=True)
class Box:
    """A square that may hold a face: centre (x, y) and side in image pixels, roll in degrees (see box_transform)."""

    centre: tuple[float, float]
    side: float
    roll: float = 0.0


@dataclass(frozen=True)
class Measured:
    """A verified face: keypoints (5, 2) float64 image pixels; logit of being a face; yaw, pitch in degrees."""

    keypoints: npt.NDArray[np.float64]
    logit: float
    yaw: float
    pitch: float

    @property
    def extent(self) -> float:
        """Pixels: the larger of eye-mouth and eye-eye distance, which neither a turn nor a nod makes small alone."""
        return max(align.eye_mouth_distance(self.keypoints), _length(self.keypoints[1] - self.keypoints[0]))


def load_detector(pack: str | os.PathLike[str]) -> Detector:
    """Detector from a pack folder (or from the file keypoints.onnx itself).

    Raises UserError: E_PACK_MISSING (no keypoints.onnx), E_PACK_FORMAT (it is not the net that this program expects).
    """
    path = Path(pack)
    file = path / KEYPOINTS_FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            "E_PACK_MISSING", f"The pack has no {KEYPOINTS_FILE} ({file}).", "Install the pack again or choose another."
        )
    import onnxruntime  # slow to import and only needed here
    from skimage import data
    from skimage.feature import Cascade

    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no documented base
        raise UserError(
            "E_PACK_FORMAT", f"{file.name} is not a readable ONNX net.", "Install the pack again."
        ) from error
    inputs, outputs = session.get_inputs(), {output.name for output in session.get_outputs()}
    shape = inputs[0].shape
    if len(inputs) != 1 or list(shape[1:]) != [3, NET_SIZE, NET_SIZE] or not outputs.issuperset(_OUTPUTS):
        raise UserError(
            "E_PACK_FORMAT",
            f"{file.name} has inputs {[i.name for i in inputs]} {shape} and outputs {sorted(outputs)}.",
            "Use a pack made for this version.",
        )
    return Detector(Cascade(data.lbp_frontal_face_cascade_filename()), session)


def detect_faces(image: npt.NDArray[np.uint8], detector: Detector) -> list[Measured]:
    """All faces of image (H, W, 3) uint8, the largest first.

    The search widens until something is found: upright faces on a small copy, tilted by 15 and 30 degrees, upright on
    a larger copy, close-ups cut by the frame, and photos stored sideways or upside down.
    """
    levels = _pyramid(image)
    for boxes in _searches(image, detector):
        found = _distinct(verify(levels, boxes, detector))
        if found:
            return sorted(found, key=lambda face: -face.extent)
    return []


def _searches(image: npt.NDArray[np.uint8], detector: Detector) -> Iterator[list[Box]]:
    coarse, fine = _grey_copy(image, _COARSE_PIXELS), _grey_copy(image, _FINE_PIXELS)
    yield propose(*coarse, detector, scale_step=1.1)
    tilted = _grey_copy(image, _TILTED_PIXELS)
    yield [box for roll in (-15.0, 15.0) for box in propose(*tilted, detector, roll)]
    yield [box for roll in (-30.0, 30.0) for box in propose(*tilted, detector, roll)]
    if fine[1] > coarse[1]:
        yield propose(*fine, detector)
    yield propose(*tilted, detector, margin=0.3)
    yield [box for roll in (90.0, 180.0, -90.0) for box in propose(*tilted, detector, roll)]


def _grey_copy(image: npt.NDArray[np.uint8], pixels: int) -> tuple[npt.NDArray[np.uint8], float]:
    """Grey copy of at most so many pixels, and its scale (copy pixels per image pixel)."""
    height, width = image.shape[:2]
    scale = min(1.0, float(np.sqrt(pixels / (height * width))))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.uint8), scale


def propose(
    grey: npt.NDArray[np.uint8],
    scale: float,
    detector: Detector,
    roll: float = 0.0,
    margin: float = 0.0,
    scale_step: float = 1.2,
) -> list[Box]:
    """The cascade's boxes on grey (h, w), a copy at the given scale, searched turned by roll degrees.

    margin: share of the shorter side added around by repeating edges; scale_step: ratio of successive window sizes.
    Boxes are in pixels of the full image.
    """
    height, width = grey.shape
    angle = np.deg2rad(roll)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    border = 2.0 * margin * min(height, width)
    size = (
        int(np.ceil(abs(cos) * width + abs(sin) * height + border)),
        int(np.ceil(abs(sin) * width + abs(cos) * height + border)),
    )
    if size[0] * size[1] > _MAX_GROWTH * grey.size:
        return []
    rotation = np.array([[cos, sin], [-sin, cos]])
    middle = np.array([(width - 1) / 2.0, (height - 1) / 2.0])
    turn = np.concatenate([rotation, ((np.array(size) - 1) / 2.0 - rotation @ middle)[:, None]], axis=1)
    turned = cv2.warpAffine(grey, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shorter = min(size)
    smallest = max(_WINDOW, round(_MIN_FACE_SHARE * shorter))
    if shorter <= smallest:
        return []
    found = detector.cascade.detect_multi_scale(
        img=turned,
        scale_factor=scale_step,
        step_ratio=1.0,
        min_size=(smallest, smallest),
        max_size=(shorter, shorter),
        min_neighbor_number=_MIN_NEIGHBOURS,
        intersection_score_threshold=_MERGE_OVERLAP,
    )
    back = align.invert(turn)
    boxes = []
    for box in found:
        corner = np.array([box["c"], box["r"]], dtype=np.float64)
        centre = align.apply(back, corner + (box["width"] - 1) / 2.0)
        if not (-0.5 <= centre[0] <= width - 0.5 and -0.5 <= centre[1] <= height - 0.5):
            continue  # in the repeated border
        x, y = (centre + 0.5) / scale - 0.5
        boxes.append(Box((float(x), float(y)), box["width"] / scale, roll))
    return boxes


def verify(levels: Sequence[npt.NDArray[np.uint8]], boxes: Sequence[Box], detector: Detector) -> list[Measured]:
    """Boxes that hold a face by the net's judgement in both passes and by the geometry of the keypoints."""
    first = [align.box_transform(box.centre, BOX_MARGIN * box.side, NET_SIZE, box.roll) for box in boxes]
    second: list[npt.NDArray[np.float64]] = []
    guesses: list[npt.NDArray[np.float64]] = []
    for transform, (unit, logit, _) in zip(first, _measure(levels, first, detector), strict=True):
        if logit < FIRST_FACE_LOGIT or not plausible(unit):
            continue
        guess = align.apply(align.invert(transform), align.unit_to_pixels(unit, NET_SIZE))
        guesses.append(guess)
        second.append(align.crop_transform(guess, NET_SIZE, "face"))
    faces = []
    for guess, transform, (unit, logit, yaw_pitch) in zip(
        guesses, second, _measure(levels, second, detector), strict=True
    ):
        if logit < FACE_LOGIT or not plausible(unit):
            continue
        points = align.apply(align.invert(transform), align.unit_to_pixels(unit, NET_SIZE))
        movement = np.linalg.norm(points - guess, axis=1).max()
        if movement <= MAX_MOVEMENT * align.eye_mouth_distance(points):
            faces.append(Measured(points, logit, float(yaw_pitch[0]), float(yaw_pitch[1])))
    return faces


def _measure(
    levels: Sequence[npt.NDArray[np.uint8]], transforms: Sequence[npt.NDArray[np.float64]], detector: Detector
) -> Iterator[tuple[npt.NDArray[np.float64], float, npt.NDArray[np.float64]]]:
    """(keypoints (5, 2) in unit coordinates, face logit, yaw and pitch) of each crop."""
    name = detector.session.get_inputs()[0].name
    for start in range(0, len(transforms), _BATCH):
        crops = np.stack([_warp_from(levels, m) for m in transforms[start : start + _BATCH]])
        batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32) / 127.5 - 1.0
        keypoints, face, yaw_pitch = detector.session.run(list(_OUTPUTS), {name: batch})
        for k, f, a in zip(keypoints, np.reshape(face, -1), yaw_pitch, strict=True):
            yield np.asarray(k, dtype=np.float64).reshape(5, 2), float(f), np.asarray(a, dtype=np.float64)


def plausible(keypoints: npt.NDArray[np.float64]) -> bool:
    """Whether five points (5, 2) can be the eyes, nose and mouth of a face rolled by less than 50 degrees.

    Proportions on adults seen from the front: eye distance 0.95 d, mouth width 0.75 d, nose tip 0.55 d below the
    eyes (d: eye-mouth distance); the bounds leave room for 70 degrees of yaw, nods and open mouths.
    """
    if not np.isfinite(keypoints).all() or abs(align.eye_roll(keypoints)) > 50.0:
        return False
    eyes, mouth = keypoints[1] - keypoints[0], keypoints[4] - keypoints[3]
    middle = (keypoints[0] + keypoints[1]) / 2.0
    d, eye_distance = align.eye_mouth_distance(keypoints), _length(eyes)
    if not (d > 0.0 and 0.3 * d <= eye_distance <= 1.9 * d):
        return False
    right = eyes / eye_distance
    down = np.array([-right[1], right[0]])
    mouth_below = float(((keypoints[3] + keypoints[4]) / 2.0 - middle) @ down)
    nose = keypoints[2] - middle
    return (
        mouth_below >= 0.75 * d
        and 0.15 * d <= float(nose @ down) <= 0.95 * d
        and abs(float(nose @ right)) <= 0.9 * d
        and 0.2 * d <= float(mouth @ right) <= 1.6 * d
        and abs(float(mouth @ down)) <= 0.5 * float(mouth @ right)
    )


def _distinct(faces: Sequence[Measured]) -> list[Measured]:
    """One of each group of faces whose centres are closer than half a face; the surest stays."""
    kept: list[Measured] = []
    for face in sorted(faces, key=lambda face: -face.logit):
        centre = face.keypoints.mean(axis=0)
        if all(_length(centre - k.keypoints.mean(axis=0)) > 0.75 * max(face.extent, k.extent) for k in kept):
            kept.append(face)
    return kept


def _pyramid(image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """The image halved again and again, so that a crop of a large face need not read all its pixels."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 4 * NET_SIZE:
        height, width = (n // 2 * 2 for n in levels[-1].shape[:2])
        even = levels[-1][:height, :width]  # so that the scale is 2 exactly
        levels.append(np.asarray(cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8))
    return levels


def _warp_from(levels: Sequence[npt.NDArray[np.uint8]], transform: npt.NDArray[np.float64]) -> npt.NDArray:
    """align.warp of the net's input from the smallest level that is still sharper than the crop."""
    step = 1.0 / float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
    level = int(np.clip(np.floor(np.log2(max(step, 1.0))), 0, len(levels) - 1))
    factor = 2.0**level
    m = transform.copy()
    m[:, 2] += m[:, :2] @ np.full(2, (factor - 1.0) / 2.0)  # level pixel x covers image pixels around factor x + this
    m[:, :2] *= factor
    return align.warp(levels[level], m, NET_SIZE)


def _length(vector: npt.NDArray[np.float64]) -> float:
    return float(np.linalg.norm(vector))
