# SPDX-License-Identifier: GPL-3.0-or-later
"""Joints read off a made-up head whose joints are known."""

import numpy as np
import pytest

from idto3d_blender.head import anatomy

EYE = np.array([0.03, -0.08, 0.14])
JOINT = np.array([0.0, -0.02, 0.10])


def _turn(points: np.ndarray, about: np.ndarray, angle: float) -> np.ndarray:
    """About the X axis through ``about``."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray((points - about) @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) + about)


def _head() -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    random = np.random.default_rng(3)
    skin = np.array(
        [(x * 0.07, y, z) for z in np.linspace(-0.08, 0.25, 34) for x in (-1.0, 0.0, 1.0) for y in (-0.1, 0.0, 0.08)]
    )
    ball = random.normal(size=(60, 3))
    ball *= 0.012 / np.linalg.norm(ball, axis=1, keepdims=True)
    # The front half of an eyeball is all that there is: a mean would be no centre.
    ball = ball[ball[:, 1] < 0.004]
    teeth = random.uniform((-0.03, -0.1, 0.05), (0.03, -0.06, 0.06), (40, 3))
    pieces = {"face": skin, "sclera": np.concatenate([EYE + ball, EYE * (-1, 1, 1) + ball]), "teeth": teeth}
    starts = np.cumsum([0, *map(len, pieces.values())])
    members = {name: np.arange(a, b) for name, a, b in zip(pieces, starts, starts[1:], strict=False)}
    points = np.concatenate(list(pieces.values()))
    opening = np.zeros_like(points)
    opening[members["teeth"]] = _turn(teeth, JOINT, 0.3) - teeth
    front = members["face"][(skin[:, 1] < -0.05) & (skin[:, 2] > 0.015) & (skin[:, 2] < 0.06)]
    opening[front] = _turn(points[front], JOINT, 0.3) - points[front]
    looking = np.zeros_like(points)
    left = members["sclera"][points[members["sclera"], 0] > 0]
    looking[left] = _turn(points[left], EYE, 0.35) - points[left]
    return points, members, {"jawOpen": opening, "eyeLookDownLeft": looking}


def test_joints_are_found() -> None:
    found = anatomy.measure(*_head())
    assert found.eyes["L"] == pytest.approx(EYE, abs=1e-6)
    assert found.eyes["R"] == pytest.approx(EYE * (-1, 1, 1), abs=1e-6)
    assert found.jaw == pytest.approx(JOINT, abs=1e-6) and found.jaw_angle == pytest.approx(0.3, abs=1e-6)
    assert found.eye_angles["L", "Down"] == pytest.approx(0.35, abs=1e-6)
    assert found.eye_angles["R", "Down"] == pytest.approx(0.52), "a key that the head lacks has the usual angle"
    assert found.chin == pytest.approx((0.0, -0.1, 0.02), abs=1e-6)
    assert found.chin[2] < found.skull[2] < found.crown[2] == pytest.approx(0.25)


def test_jaw_without_a_key_lies_in_the_head() -> None:
    points, members, _ = _head()
    found = anatomy.measure(points, members, {})
    assert -0.1 < found.jaw[1] < 0.08 and 0.0 < found.jaw[2] < EYE[2] and found.jaw_angle > 0.2


def test_mesh_that_says_nothing_of_parts_has_shoulders_all_the_same() -> None:
    points, members, offsets = _head()
    measured = anatomy.measure(points, members, offsets)
    weights = anatomy.weights(measured, points, {"": np.arange(len(points))})
    whole = anatomy.weights(measured, points, {"face": members["face"]})
    assert weights["root"] == pytest.approx(whole["root"]) and weights["root"].max() == 1.0


def test_weights_bend_the_neck_alone() -> None:
    points, members, offsets = _head()
    measured = anatomy.measure(points, members, offsets)
    weights = anatomy.weights(measured, points, members)
    assert sum(weights.values()) == pytest.approx(np.ones(len(points)))
    assert all((weight >= 0).all() and (weight <= 1).all() for weight in weights.values())
    face = points[members["face"]]
    chin_up = members["face"][(face[:, 1] < -0.05) & (face[:, 2] >= 0.02)]
    nape_up = members["face"][(face[:, 1] > 0.05) & (face[:, 2] > 0.12)]
    for whole in (chin_up, nape_up, members["teeth"]):
        assert (weights["head"][whole] == 1.0).all()
    assert (weights["root"][members["face"][face[:, 2] < -0.03]] == 1.0).all()
    # Up the nape the neck takes over from the shoulders and gives way to the head, without a step.
    nape = members["face"][(face[:, 1] > 0.05) & (face[:, 0] == 0.0)]
    assert (np.diff(weights["root"][nape]) <= 1e-9).all() and (np.diff(weights["head"][nape]) >= -1e-9).all()
    assert weights["neck"][nape].max() > 0.4 and np.abs(np.diff(weights["head"][nape])).max() < 0.25
    left = members["sclera"][points[members["sclera"], 0] > 0]
    assert (weights["eye.L"][left] == 1.0).all() and weights["eye.L"].sum() == len(left)
