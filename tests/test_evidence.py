# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs to maps: colours without the photo's light, where they belong and nowhere else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.evidence.complexion import lips_colour
from idto3d.evidence.eyes import measure_eyes
from idto3d.evidence.gather import BELIEVED, Evidence, HairOver, Layers, _joined, _without_lines, gather_evidence
from idto3d.evidence.hair_colour import SHADES, HairColour
from idto3d.fit.projection import EYES, MOUTH, polygon_mask, project_photo, srgb_to_linear, with_common_tone
from idto3d.fit.result import HeadFit, PhotoFit
from idto3d.headmodel import HeadModel
from idto3d.photos.faces import Face
from tests.synthetic_face import EVEN_LIGHT, SKIN, at_landmarks, camera_of, face_of, photograph
from tests.tiny_head import tiny_head_model

MAP = 128


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return tiny_head_model(48, 32)


def side_light() -> Array:
    """Warm from the person's left and above, blue from everywhere: one side is four times as bright as the other."""
    light = np.zeros((9, 3))
    light[0] = np.array([0.85, 1.0, 1.25]) / 0.28209479
    light[3] = np.array([0.65, 0.6, 0.5]) / 0.48860251
    light[1] = np.array([0.42, 0.35, 0.25]) / 0.48860251
    return light


def shoot(
    model: HeadModel, albedo: Array | None = None, yaw: float = 0.0, light: Array = EVEN_LIGHT, change: Any = None
) -> Face:
    posed, camera = model.neutral.astype(np.float64), camera_of(model, yaw)
    picture, person = photograph(model, camera, posed, albedo, light)
    face = face_of(model, camera, posed, picture, f"{yaw:.0f}.png", person=person)
    if change is not None:
        change(face)
    return face


def gather(
    model: HeadModel, faces: list[Face], yaws: list[float], weights: list[float] | None = None,
    hair: HairOver | None = None,
) -> Evidence:  # fmt: skip
    """Evidence of a fit that is known to be right."""
    none, still = np.zeros(len(model.expression_names)), np.zeros_like(model.neutral)
    posed = model.neutral.astype(np.float64)
    photos, laid = [], []
    for face, yaw, weight in zip(faces, yaws, weights or [1.0] * len(faces), strict=True):
        camera = camera_of(model, yaw)
        laid.append(project_photo(model, face, camera, posed))
        photos.append(PhotoFit(face.name, camera, none, still, laid[-1].light, 0.001, weight))
    fit = HeadFit(np.zeros(len(model.identity)), still, none, tuple(photos))
    return gather_evidence(model, faces, fit, with_common_tone(faces, laid), MAP, hair)


def linear_map(evidence: Evidence, name: str = "skin") -> Array:
    return srgb_to_linear(np.rint(evidence.maps[name][..., :3] * 255).astype(np.uint8)).astype(np.float64)


def where(model: HeadModel, evidence: Evidence) -> Array:
    """(S,S,3) the point of the head at each texel of the skin's map."""
    at = evidence.texels["skin"]
    return at.padded(at.image(at.at(model.neutral)))


def covered(evidence: Evidence) -> Array:
    at = evidence.texels["skin"]
    return at.image(np.ones(len(at.index), bool))


@pytest.mark.parametrize("skin", [(0.05, 0.028, 0.018), (0.55, 0.40, 0.33)], ids=["dark", "pale"])
def test_side_light_does_not_stay_on_the_skin(model: HeadModel, skin: tuple[float, ...]) -> None:
    """A head of one colour comes out in nearly one colour, under a light that makes four of it."""
    albedo = np.tile(np.array(skin) * 0.6, (len(model.neutral), 1))
    albedo[model.vertices_of("sclera")] = 0.6  # whites as dark as the skin would tell of little light
    face = shoot(model, albedo, light=side_light())
    evidence = gather(model, [face], [0.0])
    found, seen = linear_map(evidence), evidence.seen["skin"] > 0.5
    assert seen.mean() > 0.25
    colours = found[seen]
    # without a fit of the light 0.2 and more; of blue the dark skin has thirteen steps of a byte
    assert (colours.std(0) / colours.mean(0))[:2].max() < 0.18
    light = colours.mean(1)
    assert np.abs(np.quantile(light, (0.05, 0.95)) / np.median(light) - 1).max() < 0.33
    assert np.log(colours[:, 0] / colours[:, 2]).std() < 0.1
    # in the photograph itself it is not nearly one colour
    shown = srgb_to_linear(face.picture)[face.person > 0.5]
    assert (shown.std(0) / shown.mean(0)).min() > 0.2
    # dark stays dark and pale stays pale
    assert (np.median(colours, 0).mean() > 0.1) == (skin[0] > 0.1)


def test_what_the_photo_did_not_show_has_its_tone(model: HeadModel) -> None:
    evidence = gather(model, [shoot(model)], [0.0])
    for name in ("skin", "head"):
        albedo = evidence.maps[name]
        assert albedo.shape == (MAP, MAP, 5) and np.isfinite(albedo).all() and 0 <= albedo.min() <= albedo.max() <= 1
        unseen = evidence.seen[name] == 0
        assert unseen.any()
        found = np.log(linear_map(evidence, name)[unseen])
        np.testing.assert_allclose(np.median(found, 0), np.log(evidence.tone), atol=0.15)
        assert 0.01 < found.std(0).mean() < 0.2  # nor is it of one colour
    skin = next(m for m in model.materials if m.name == "skin")
    gloss = evidence.maps["skin"][..., 3:]
    np.testing.assert_allclose(np.median(gloss, (0, 1)), (skin.roughness, skin.specular), atol=0.2)
    assert np.ptp(gloss[..., 0]) > 0.05


MARK = np.array([1.0, 0.55, 0.55])
"""A red mark: what is only darker may be a shadow."""


def patch(model: HeadModel, x: float, colour: Array) -> Array:
    """A head of one colour with a patch on one cheek."""
    albedo = np.tile(SKIN, (len(model.neutral), 1))
    place = np.array([x, -0.02, 0.08])
    near = np.linalg.norm(model.neutral - place, axis=1) < 0.02
    assert near.sum() >= 4
    albedo[near] *= colour
    return albedo


def test_a_hidden_cheek_takes_the_other_ones_colours(model: HeadModel) -> None:
    """The person's right cheek has a red patch; the photo shows that side only."""
    evidence = gather(model, [shoot(model, patch(model, -0.045, MARK), 50.0)], [50.0])
    points, found = where(model, evidence), linear_map(evidence)
    found = found[..., 1] / found[..., 0]
    tone = float(evidence.tone[1] / evidence.tone[0])
    lightness = {}
    for side in (-1, 1):
        spot = covered(evidence) & (np.linalg.norm(points - [0.045 * side, -0.02, 0.08], axis=2) < 0.01)
        lightness[side] = float(np.median(found[spot])) / tone
        seen = evidence.seen["skin"][spot]
        assert seen.min() > 0.5 if side < 0 else seen.max() < 0.3
    assert lightness[-1] < 0.8
    assert lightness[1] < 0.9


def test_where_both_sides_are_seen_each_keeps_its_own(model: HeadModel) -> None:
    evidence = gather(model, [shoot(model, patch(model, -0.035, MARK))], [0.0])
    points, found = where(model, evidence), linear_map(evidence)
    found = found[..., 1] / found[..., 0]
    right, left = (
        float(np.median(found[np.linalg.norm(points - [0.035 * side, -0.02, 0.08], axis=2) < 0.01])) for side in (-1, 1)
    )
    assert right < 0.85 * left


@pytest.mark.parametrize(("weights", "share"), [((1.0, 0.25), 0.8), ((0.25, 1.0), 0.2), ((1.0, 1.0), 0.5)])
def test_photos_are_blended_by_weight(model: HeadModel, weights: tuple[float, float], share: float) -> None:
    """Stripes in the first photo, none in the second: what is left of them is the first one's share."""
    stripes = np.exp(0.12 * np.sin(model.neutral[:, 1:2] * 2 * np.pi / 0.03)) * np.array(SKIN)
    faces = [shoot(model, stripes), shoot(model)]
    alone = np.log(linear_map(gather(model, faces[:1], [0.0])))
    both = gather(model, faces, [0.0, 0.0], list(weights))
    seen = both.seen["skin"] > 0.8
    mixed = np.log(linear_map(both))
    wave = np.sin(where(model, both)[seen][:, 1] * 2 * np.pi / 0.03)
    a, b = (np.polyfit(wave, shown[seen].mean(1), 1)[0] for shown in (alone, mixed))
    assert b / a == pytest.approx(share, abs=0.08)


def test_of_lips_and_eyes_only_photos_with_colours_tell_theirs(
    model: HeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def counted(own: Any) -> Any:
        def call(photos: Any, *rest: Any) -> Any:
            told.append(len(photos))
            return own(photos, *rest)

        return call

    monkeypatch.setattr("idto3d.evidence.gather.lips_colour", counted(lips_colour))
    monkeypatch.setattr("idto3d.evidence.gather.measure_eyes", counted(measure_eyes))
    coloured, grey = shoot(model), replace(shoot(model, yaw=20.0), grey=True)
    gather(model, [coloured, grey], [0.0, 20.0])
    assert {*told} == {1}
    told.clear()
    gather(model, [grey, grey], [20.0, 20.0])
    assert {*told} == {2}


def test_insides_of_eyes_and_mouth_stay_off_the_skin(model: HeadModel) -> None:
    def paint(face: Face) -> None:
        for outline in (*EYES, MOUTH):
            face.picture[polygon_mask(len(face.picture), face.landmarks, outline)] = (0, 255, 0)

    face = shoot(model, change=paint)
    assert (face.picture[..., 1] == 255).sum() > 100
    evidence = gather(model, [face], [0.0])
    found = linear_map(evidence)
    green = found[..., 1] / found[..., 0] / (SKIN[1] / SKIN[0])
    assert green.max() < 2.7 and (green > 1.2).mean() < 0.015  # a breath of it on the very edge of lids and lips


def test_hair_over_an_eye_is_not_the_eye(model: HeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    face = shoot(model)
    over = np.zeros(face.person.shape, np.float32)
    over[:, : len(over) // 2] = 1
    told: list[Any] = []

    def kept(photos: Any) -> Any:
        told.extend(photos)
        return measure_eyes(photos)

    monkeypatch.setattr("idto3d.evidence.gather.measure_eyes", kept)
    colour = HairColour(np.full(3, 0.1), (srgb_to_linear(face.picture),), np.zeros((SHADES, 3)), (0,))
    gather(model, [face], [0.0], hair=HairOver([over], colour))
    ((shown, _, _),) = told
    assert not shown.inside[:, : len(over) // 2].any() and shown.inside[:, len(over) // 2 :].any()


def test_hair_stays_off_the_skin(model: HeadModel) -> None:
    masks = []

    def fringe(face: Face) -> None:
        mask = np.zeros(face.person.shape, np.float32)
        top, chin = face.landmarks[[10, 152], 1]
        mask[: int(top + 0.2 * (chin - top))] = 1
        masks.append(mask * (face.person > 0.5))
        face.picture[mask * face.person > 0.5] = (10, 200, 10)

    face = shoot(model, change=fringe)
    bald = gather(model, [face], [0.0])
    green_hair = HairColour(np.array([0.02, 0.6, 0.02]), (srgb_to_linear(face.picture),), np.zeros((SHADES, 3)), (0,))
    evidence = gather(model, [face], [0.0], hair=HairOver(masks, green_hair))
    points = where(model, evidence)
    top, chin = (float(at_landmarks(model, model.neutral)[k, 1]) for k in (10, 152))
    forehead = covered(evidence) & (points[..., 1] > top - 0.1 * (top - chin)) & (points[..., 2] > 0.03)
    grows = evidence.texels["skin"]
    bare = grows.image(grows.at(model.scalp[:, None])[:, 0]) < 0.02
    forehead &= bare
    assert forehead.sum() > 10
    green = linear_map(evidence)[..., 1] / linear_map(evidence)[..., 0]
    assert evidence.seen["skin"][forehead].max() < 0.05
    assert np.median(green[forehead]) < 1.0
    assert np.median((linear_map(bald)[..., 1] / linear_map(bald)[..., 0])[forehead]) > np.median(green[forehead])

    def roots(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (at[:, 0] > 0).astype(np.float32), np.zeros(len(at), np.float32)

    painted = gather(model, [face], [0.0], hair=HairOver(masks, green_hair, roots))
    green = linear_map(painted)[..., 1] / linear_map(painted)[..., 0]
    left = points[..., 0] > 0.005
    assert np.median(green[forehead & left]) > 5 and np.median(painted.seen["skin"][forehead & left]) > 0.5
    assert np.median(green[forehead & (points[..., 0] < -0.005)]) < 1.0


def test_a_highlight_is_not_painted(model: HeadModel) -> None:
    def shine(face: Face) -> None:
        x, y = np.rint(face.landmarks[5] + [22, 8]).astype(int)
        face.picture[y - 4 : y + 5, x - 4 : x + 5] = 255

    found = linear_map(gather(model, [shoot(model, change=shine)], [0.0])).mean(2)
    assert found.max() < 2.0 * np.median(found)  # in the photo it is four times as bright


def test_a_black_beard_is_black_down_to_the_jaw(model: HeadModel) -> None:
    def beard(face: Face) -> None:
        below = np.arange(len(face.picture))[:, None] > face.landmarks[17, 1] + 3
        face.picture[below & (face.person > 0.5)] = 12, 10, 9

    evidence = gather(model, [shoot(model, change=beard)], [0.0])
    found, marks = linear_map(evidence).mean(2), at_landmarks(model, model.neutral)
    jaw, cheek = (np.linalg.norm(where(model, evidence) - marks[k], axis=2) < 0.006 for k in (152, 50))
    assert np.median(found[jaw]) < 0.12 * np.median(found[cheek])


def test_hardly_seen_colours_of_several_photos_are_believed_no_more_than_one() -> None:
    skin, none = np.full((4, 4, 3), 0.5, np.float32), (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.float32))
    wrong = np.broadcast_to(np.array([0.2, 0.8, 0.2], np.float32), (4, 4, 3))
    layers = [(wrong, np.full((4, 4), share * BELIEVED[0], np.float32)) for share in (0.6, 0.8, 0.9)]
    for count in (1, 2, 3):
        weak = Layers(layers[:count], [none] * count, [], none[1])
        np.testing.assert_allclose(_joined(weak, np.ones(count), skin), skin, atol=1e-6)
    strong = Layers([*layers, (wrong, np.ones((4, 4), np.float32))], [none] * 4, [], none[1])
    joined = _joined(strong, np.array([0.9, 0.9, 0.9, 1.0]), skin)
    np.testing.assert_allclose(joined[1:3, 1:3], wrong[1:3, 1:3], atol=0.05)


def test_a_neck_has_the_tone_of_the_photo_and_not_its_lines() -> None:
    size, skin = 64, np.array([0.5, 0.3, 0.2], np.float32)
    under = skin * np.exp(0.1 * np.random.default_rng(0).normal(size=(size, size, 1))).astype(np.float32)
    shown = np.broadcast_to(0.7 * skin, under.shape).copy()
    shown[:, size // 2] *= 0.6  # a collar's shadow, from the face (above) down the neck
    seen, neck = np.ones((size, size), np.float32), np.zeros((size, size), np.float32)
    neck[size // 2 :] = 1.0
    layers = _without_lines(Layers([(shown, seen)], [(shown, seen)], [], neck), under, 6.0)
    (found, weight), (lent, _) = *layers.own, *layers.lent
    np.testing.assert_array_equal(weight, seen)
    np.testing.assert_array_equal(lent, found)
    np.testing.assert_array_equal(found[: size // 2], shown[: size // 2])
    away = np.log(found / under)[size // 2 :]
    assert abs(away[:, size // 2] - away[:, size // 2 + 1]).max() < 0.02  # no line, the synthetic skin's detail
    np.testing.assert_allclose(away[:, :8].mean(), np.log(0.7), atol=0.05)
