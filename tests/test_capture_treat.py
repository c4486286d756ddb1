# SPDX-License-Identifier: GPL-3.0-or-later
"""Calibration, smoothing, gain and retiming of takes, by hand-computed cases. No Blender."""

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from idto3d_blender.capture.one_euro import one_euro, without_lag
from idto3d_blender.capture.table import SHAPES, FaceTake, take_of
from idto3d_blender.capture.treat import REGIONS, Treatment, angles, matrices, region_of, treat

JAW, SMILE = SHAPES.index("jawOpen"), SHAPES.index("mouthSmileLeft")


def take(times: Any, **columns: Any) -> FaceTake:
    times = np.asarray(times, float)
    channels = np.zeros((len(times), 61))
    for name, values in columns.items():
        channels[:, {"yaw": 52, "pitch": 53, "roll": 54, "left_yaw": 55}.get(name) or SHAPES.index(name)] = values
    return take_of(times, channels, np.ones(len(times), bool))


def test_retiming_to_more_and_fewer_frames() -> None:
    ramp = take(np.arange(61) / 60, jawOpen=np.arange(61) / 60)
    for fps in (24.0, 25.0, 30.0, 60.0, 120.0):
        at = treat(ramp, Treatment(fps=fps, start=10))
        assert at.frames[0] == 10 and len(at.frames) == fps + 1
        np.testing.assert_allclose(at.shapes[1:-1, JAW], np.arange(1, fps) / fps, atol=1e-9)


def test_a_short_blink_is_not_skipped() -> None:
    values = np.zeros(61)
    values[31] = 1.0  # a sixtieth of a second, between two frames of 24
    at = treat(take(np.arange(61) / 60, eyeBlinkLeft=values), Treatment(fps=24.0, blinks=False))
    blink = at.shapes[:, SHAPES.index("eyeBlinkLeft")]
    assert blink.sum() == pytest.approx(24 / 60, abs=1e-9) and blink.max() > 0.15


def test_uneven_times() -> None:
    times = np.array([0.0, 0.02, 0.5, 0.55, 1.0])
    at = treat(take(times, jawOpen=times), Treatment(fps=10.0))
    np.testing.assert_allclose(at.shapes[:, JAW], np.arange(11) / 10, atol=1e-9)


def test_trim() -> None:
    ramp = take(np.arange(101) / 100, jawOpen=np.arange(101) / 100)
    at = treat(ramp, Treatment(trim=(0.25, 0.75), fps=100.0, start=-3))
    assert at.frames.tolist() == list(range(-3, 48))
    np.testing.assert_allclose(at.shapes[[0, -1], JAW], [0.25, 0.75], atol=1e-9)
    with pytest.raises(ValueError):
        treat(ramp, Treatment(trim=(2.0, 3.0)))
    with pytest.raises(ValueError):
        treat(ramp, Treatment(rest=(2.0, 3.0)))


def test_calibration_to_the_face_at_rest() -> None:
    times = np.arange(31) / 30
    smile = np.where(times < 0.5, 0.2, 0.6)
    gaze_out, gaze_in = np.where(times < 0.5, 0.1, 0.0), np.where(times < 0.5, 0.0, 0.3)
    at = treat(
        take(times, mouthSmileLeft=smile, eyeLookOutLeft=gaze_out, eyeLookInLeft=gaze_in, left_yaw=0.1),
        Treatment(rest=(0.0, 0.4), fps=30.0),
    )
    np.testing.assert_allclose(at.shapes[[0, -1], SMILE], [0, 0.5], atol=1e-9)
    # The eye rests at 0.1 outwards: from there it goes 0.4 inwards.
    looks: Any = at.shapes[-1, [SHAPES.index("eyeLookInLeft"), SHAPES.index("eyeLookOutLeft")]]
    np.testing.assert_allclose(looks, [0.4, 0], atol=1e-9)
    assert not at.shapes[0].any() and not at.eyes.any()


def test_what_is_bridged_is_no_rest() -> None:
    times = np.arange(31) / 10
    channels = np.zeros((31, 61))
    channels[:, JAW] = np.where(times < 1.0, 0.6, np.where(times < 2.0, 0.0, 0.5))
    seen = times >= 0.9  # first of all in the middle of a word
    given = take_of(times, channels, seen)
    at = treat(given, Treatment(rest=(0.0, 2.0), fps=10.0))
    np.testing.assert_allclose(at.shapes[[15, -1], JAW], [0.0, 0.5], atol=1e-9)
    with pytest.raises(ValueError, match="not seen"):
        treat(given, Treatment(rest=(0.0, 0.8)))


def test_the_head_turns_from_where_it_rested() -> None:
    # Filmed from the side and below, a nod is a nod.
    rest = Rotation.from_euler("YXZ", [0.6, -0.2, 0.1])
    nod = rest * Rotation.from_euler("YXZ", [0.0, 0.3, 0.0])
    turns = np.stack([*[rest.as_euler("YXZ")] * 5, nod.as_euler("YXZ")])
    given = take(np.arange(6) / 10, yaw=turns[:, 0], pitch=turns[:, 1], roll=turns[:, 2])
    at = treat(given, Treatment(rest=(0.0, 0.4), fps=10.0))
    np.testing.assert_allclose(at.head[[0, -1]], np.array([[0, 0, 0], [0, 0.3, 0]]), atol=1e-9)


def test_matrices_are_those_of_the_table() -> None:
    turns = np.random.default_rng(0).uniform(-1.2, 1.2, (20, 3))
    np.testing.assert_allclose(matrices(turns), Rotation.from_euler("YXZ", turns).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(angles(matrices(turns)), turns, atol=1e-12)
    # A positive yaw looks to the person's left, which is +x; a positive pitch looks down.
    np.testing.assert_allclose(matrices(np.array([np.pi / 2, 0, 0])) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(matrices(np.array([0, np.pi / 2, 0])) @ [0, 0, 1], [0, -1, 0], atol=1e-12)


def test_gains_flips_and_the_mouths_sides() -> None:
    given = take([0.0, 1.0], jawOpen=0.3, mouthSmileLeft=0.3, browInnerUp=0.9, mouthLeft=0.2, yaw=0.2, pitch=0.1)
    how = Treatment(gain=1.5, gains={"mouth": 2.0}, turn=0.5, flips=(-1, 1, 1), swap_mouth=True, fps=1.0)
    at = treat(given, how)
    got = dict(zip(SHAPES, at.shapes[0], strict=True))
    assert got["jawOpen"] == pytest.approx(0.45) and got["mouthSmileLeft"] == pytest.approx(0.9)
    assert got["browInnerUp"] == 1.0 and got["mouthRight"] == pytest.approx(0.6) and got["mouthLeft"] == 0
    np.testing.assert_allclose(at.head[0], [-0.1, 0.05, 0])


def test_the_strongest_blinks_close_the_eyes() -> None:
    blink = np.zeros(300)
    blink[50:54] = blink[200:204] = 0.4
    given = take(np.arange(300) / 30, eyeBlinkLeft=blink, eyeBlinkRight=blink / 4)
    at = treat(given, Treatment(fps=30.0))
    assert at.shapes[:, SHAPES.index("eyeBlinkLeft")].max() == pytest.approx(1.0)
    assert at.shapes[:, SHAPES.index("eyeBlinkRight")].max() == pytest.approx(0.1)  # no blink, and not made one


@pytest.mark.parametrize(("rate", "fps"), [(60, 24.0), (30, 24.0), (60, 30.0), (30, 25.0)])
def test_the_strongest_blinks_close_at_any_frame_rate(rate: int, fps: float) -> None:
    """Nine blinks of .75 that fall between the scene's frames otherwise each time: those that score most close."""
    times = np.arange(20 * rate) / rate
    blink = np.zeros(len(times))
    for n in range(9):
        begin = 1.0 + 2.013 * n
        blink = np.maximum(blink, np.interp(times, begin + np.array([0, 0.08, 0.11, 0.26]), [0, 0.75, 0.75, 0]))
    at = treat(take(times, eyeBlinkLeft=blink), Treatment(fps=fps))
    assert at.shapes[:, SHAPES.index("eyeBlinkLeft")].max() == pytest.approx(1.0, abs=1e-6)
    part = treat(take(times, eyeBlinkLeft=blink), Treatment(fps=fps, trim=(4.5, 5.5)))
    assert part.shapes[:, SHAPES.index("eyeBlinkLeft")].max() > 0.85  # as strong as in the whole take


def test_gains_are_the_eye_bones_too() -> None:
    given = take([0.0, 1.0], eyeLookOutLeft=0.2)
    given.eyes[:, 0] = [0.2, 0.1, 0.0]
    for gains, factor in (({}, 2.0), ({"eye": 0.5}, 1.0), ({"mouth": 3.0}, 2.0)):
        at = treat(given, Treatment(gain=2.0, gains=gains, fps=1.0))
        np.testing.assert_allclose(at.eyes[0, 0], [factor * 0.2, factor * 0.1, 0])
        assert at.gaze


def test_every_shape_has_a_region() -> None:
    assert {region_of(name) for name in SHAPES} == set(REGIONS)
    assert region_of("noseSneerLeft") == "cheek" and region_of("tongueOut") == "mouth"


def test_one_euro_is_the_papers() -> None:
    # Two steps by hand: alpha = 1 / (1 + 1 / (2 pi fc dt)).
    dt, cutoff, beta = 0.5, 1.0, 0.5
    alpha = 1 / (1 + 1 / (2 * np.pi * 1.0 * dt))
    speed = alpha * 2.0  # the value rises by 1 in half a second
    first = 1 / (1 + 1 / (2 * np.pi * (cutoff + beta * speed) * dt))
    speed += alpha * (0.0 - speed)
    second = 1 / (1 + 1 / (2 * np.pi * (cutoff + beta * speed) * dt))
    expected = [0.0, first, first + second * (1 - first)]
    got = one_euro(np.array([0, dt, 2 * dt]), np.array([[0.0], [1.0], [1.0]]), cutoff, beta)
    np.testing.assert_allclose(got[:, 0], expected)


def test_smoothing_calms_and_does_not_lag() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(300) / 60
    clean = np.clip(np.sin(times * 4), 0, 1)[:, None]
    noisy = clean + rng.normal(0, 0.03, clean.shape)
    both = {"plain": one_euro(times, noisy, 2.0, 1.0), "zero": without_lag(times, noisy, 2.0, 1.0)}

    def lag(values: Any) -> int:
        shifts = range(-15, 16)
        return min(shifts, key=lambda s: float(np.abs(np.roll(clean, s)[20:-20] - values[20:-20]).mean()))

    assert lag(both["plain"]) > 1 and abs(lag(both["zero"])) <= 1
    for values in both.values():
        assert np.abs(np.diff(values, axis=0)).mean() < 0.6 * np.abs(np.diff(noisy, axis=0)).mean()
    at = treat(take(times, jawOpen=np.clip(noisy[:, 0], 0, 1)), Treatment(cutoff=2.0, beta=1.0, fps=60.0))
    assert np.abs(at.shapes[:, JAW] - clean[:, 0]).mean() < np.abs(noisy - clean).mean()
