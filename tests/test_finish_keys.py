# SPDX-License-Identifier: GPL-3.0-or-later
"""All keys of a finished head: names, sides, eyes that turn, a tongue that comes out, and skin that stays clear."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from idto3d.arrays import Array
from idto3d.evaluate.crossings import depth_inside, find_crossings
from idto3d.evaluate.keys import measure_keys
from idto3d.finish.arkit import ARKIT, in_head_model, other_side
from idto3d.finish.clear import Moving, clear_keys, near_skin
from idto3d.finish.keys import Keys, all_keys, arkit_shapes, group_of
from idto3d.finish.lids import find_lids
from idto3d.finish.mixtures import AT_MOST_ONE, draw, in_mirror, limited, together
from idto3d.finish.obstacles import RESTING, Obstacle, eyeball_obstacle, pushes
from idto3d.finish.tongue import MOUTH
from idto3d.finish.visemes import VISEMES
from idto3d.fit.untangle import untangle
from idto3d.headmodel import HeadModel
from idto3d.headmodel.eyeballs import GROWTH, TURN, find_eyeballs, look
from idto3d.mesh.intersections import self_intersections
from idto3d.render.raster import rasterize

FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def neutral(starter: HeadModel) -> Array:
    return starter.neutral.astype(np.float64)


@pytest.fixture(scope="module")
def keys(starter: HeadModel, neutral: Array) -> Keys:
    wide = {"yawn": starter.motion(starter.expression_vector({"jawOpen": 0.9}))}
    return all_keys(starter, neutral, np.zeros(len(starter.expression_names)), wide)


def test_names_and_groups(keys: Keys) -> None:
    names = list(keys.offsets)
    assert names == ["yawn", *ARKIT, *VISEMES] and len(set(names)) == 1 + 52 + 15
    assert [group_of(n) for n in ("yawn", "tongueOut", "viseme_sil")] == ["expression", "arkit", "viseme"]
    assert not keys.offsets["viseme_sil"].any()
    still = [n for n, offset in keys.offsets.items() if np.linalg.norm(offset, axis=1).max() < 1e-3]
    assert still == ["viseme_sil"], "a key that does nothing"
    assert all(set(weights) <= set(ARKIT) for weights in VISEMES.values())


def test_names_in_the_head_model() -> None:
    assert [in_head_model(n) for n in ("eyeBlinkLeft", "mouthSmileRight", "mouthLeft", "jawRight", "cheekPuff")] == [
        "eyeBlink_L", "mouthSmile_R", "mouthLeft", "jawRight", "cheekPuff",
    ]  # fmt: skip
    assert [other_side(n) for n in ("jawLeft", "noseSneerRight", "jawOpen")] == ["jawRight", "noseSneerLeft", "jawOpen"]


def test_left_is_the_persons_left(starter: HeadModel, keys: Keys) -> None:
    skin = starter.vertices_of("face")
    for name in ("eyeBlinkLeft", "mouthSmileLeft", "browDownLeft"):
        moved = np.linalg.norm(keys.offsets[name][skin], axis=1)
        assert moved @ starter.neutral[skin, 0] > 0, name
    assert keys.offsets["jawLeft"][skin, 0].sum() > 0 > keys.offsets["mouthRight"][skin, 0].sum()


def test_sides_are_mirror_images(starter: HeadModel, neutral: Array) -> None:
    shapes = dict(zip(ARKIT, arkit_shapes(starter, neutral, np.zeros(len(starter.expression_names))), strict=True))
    for name in ARKIT:
        twin = shapes[other_side(name)][starter.mirror] * FLIP
        assert np.abs(twin - shapes[name]).max() < 4e-4, name


def test_keys_that_give_way_to_teeth_stay_mirror_images(starter: HeadModel, keys: Keys) -> None:
    for name in ARKIT:
        twin = keys.offsets[other_side(name)][starter.mirror] * FLIP
        # lids meet by their vertices, which are not quite in mirrored places
        assert np.abs(twin - keys.offsets[name]).max() < 6e-4, name


def test_a_viseme_is_its_sum(keys: Keys) -> None:
    for name, weights in VISEMES.items():
        wanted = sum(w * keys.offsets[n].astype(np.float64) for n, w in weights.items())
        np.testing.assert_allclose(keys.offsets[name], wanted, atol=1e-7)


@pytest.mark.parametrize("seed", [2, 13])
def test_lids_that_give_way_to_eyes_do_not_cross_their_own_folds(starter: HeadModel, seed: int) -> None:
    someone = starter.shape(np.random.default_rng(seed).normal(size=len(starter.identity)))
    someone += untangle(starter, someone)
    rest = np.asarray(all_keys(starter, someone, np.zeros(len(starter.expression)), {}).neutral, np.float64)
    assert np.abs(rest - someone)[starter.vertices_of("face")].max() > 5e-4, "nothing was in the way"
    assert not len(self_intersections(rest, starter.triangles_of("face", "back_head")))
    face = rest[starter.vertices_of("face")]
    for eye in find_eyeballs(starter, rest):
        ball = eyeball_obstacle(starter, rest, eye, "sclera")
        assert pushes(face[None], np.zeros(len(face)), [(ball, RESTING)])[1].max() < 3e-4


@pytest.mark.parametrize(("seed", "unlike"), [(1, 1.0), (3, 1.0), (6, 0.3)])
def test_lids_meet_in_wide_and_in_narrow_eyes(starter: HeadModel, seed: int, unlike: float) -> None:
    """Of the balls hardly any shows, from the front and from below: four square millimetres of both. And of people who
    are not the least usual the lid that is seen is its outside: nothing is turned over."""
    someone = starter.shape(unlike * np.random.default_rng(seed).normal(size=len(starter.identity)))
    someone += untangle(starter, someone)
    closed = starter.motion(starter.expression_vector({"eyeBlink": 1.0}))
    keys = all_keys(starter, someone, np.zeros(len(starter.expression)), {"eye_closed": closed})
    part = starter.part[starter.triangle_quad]
    shown = np.isin(part, [starter.part_names.index(n) for n in ("face", "eye_socket", "sclera")])
    eyes, face = starter.part_names.index("sclera"), starter.part_names.index("face")
    triangles, size, metres = starter.triangles[shown], 600, 0.12
    for names, below in ((("eyeBlinkLeft", "eyeBlinkRight"), 20.0), (("eye_closed",), 0.0)):
        points = keys.neutral + sum(keys.offsets[n] for n in names)
        points = points - points[starter.vertices_of("sclera")].mean(0)
        points = points @ Rotation.from_euler("x", below, degrees=True).as_matrix()
        across, up = (points[:, :2] / (0.5 * metres)).T
        clip = torch.from_numpy(np.stack([across, up, -points[:, 2], np.ones_like(up)], 1)).float()
        raster = rasterize(clip[None], torch.from_numpy(triangles), size)
        seen = raster.tri_id[raster.tri_id >= 0].numpy()
        assert len(seen) > 0.5 * size**2
        assert (part[shown][seen] == eyes).sum() * (metres / size) ** 2 < 4e-6
        a, b, c = points[triangles].transpose(1, 0, 2)
        inside_out = (np.cross(b - a, c - a)[:, 2] < 0) & (part[shown] == face)
        assert unlike == 1.0 or not inside_out[seen].any()


def test_only_keys_that_blink_are_to_close_an_eye(starter: HeadModel, neutral: Array) -> None:
    shapes = dict(zip(ARKIT, arkit_shapes(starter, neutral, np.zeros(len(starter.expression_names))), strict=True))
    blink = shapes["eyeBlinkLeft"] + shapes["eyeBlinkRight"]
    both = find_lids(starter, neutral)
    closed = {name for name, key in shapes.items() if any(lids.closed_by(key, blink) for lids in both)}
    assert closed == {"eyeBlinkLeft", "eyeBlinkRight"} and all(lids.closed_by(blink, blink) for lids in both)
    assert [lids.closed_by(shapes["eyeBlinkRight"], blink) for lids in both] == [True, False]


def test_eyes_turn_about_their_centres(starter: HeadModel, neutral: Array) -> None:
    eyes = find_eyeballs(starter, neutral)
    ball = neutral[eyes[0].vertices]
    front = ball[:, 2].argmax()
    for name, way in {
        "eyeLookUpLeft": (0, 1), "eyeLookDownLeft": (0, -1), "eyeLookInLeft": (-1, 0), "eyeLookOutLeft": (1, 0),
    }.items():  # fmt: skip
        motion = look(neutral, eyes, name)
        assert not motion[eyes[1].vertices].any()
        moved = motion[eyes[0].vertices]
        assert np.sign(np.round(moved[front, :2], 4)).tolist() == list(way), name
        radius = np.linalg.norm(ball - eyes[0].centre, axis=1)
        for weight in (0.25, 0.5, 0.75, 1.0):
            posed = np.linalg.norm(ball + weight * moved - eyes[0].centre, axis=1)
            assert np.abs(posed - radius).max() < 3e-4, (name, weight)
    turned = ball - eyes[0].centre + look(neutral, eyes, "eyeLookUpLeft")[eyes[0].vertices]
    turned /= 1 + GROWTH
    angle = np.arctan2(turned[front, 1], turned[front, 2]) - np.arctan2(*(ball - eyes[0].centre)[front, [1, 2]])
    assert np.degrees(angle) == pytest.approx(TURN, abs=0.01)


def test_the_tongue_comes_out_between_the_lips(starter: HeadModel, keys: Keys) -> None:
    posed = keys.neutral + keys.offsets["tongueOut"]
    tongue, face = (posed[starter.vertices_of(part)] for part in ("tongue", "face"))
    tip = tongue[tongue[:, 2].argmax()]
    lip = face[(np.abs(face[:, 0]) < 0.01) & (np.abs(face[:, 1] - tip[1]) < 0.012)]
    assert 0.005 < tip[2] - lip[:, 2].max() < 0.03
    for weight in (0.0, 0.15, 0.25, 0.3, 0.35, 0.5, 0.75, 1.0):
        posed = keys.neutral + weight * keys.offsets["tongueOut"]
        assert depth_inside(posed[starter.vertices_of("tongue")], posed, starter.triangles_of("teeth")) < 3e-4, weight
        for part in ("teeth", "face"):
            points = posed[starter.vertices_of(part)]
            assert depth_inside(points, posed, starter.triangles_of("tongue")) < 5e-4, (part, weight)
    root = starter.vertices_of("tongue") & starter.vertices_of("gums")
    opened = np.linalg.norm(keys.offsets["tongueOut"][root] - MOUTH["jawOpen"] * keys.offsets["jawOpen"][root], axis=1)
    assert opened.max() < 0.004, "the root stays on the gums"


def test_an_open_jaw_lays_the_tongue_down(starter: HeadModel, neutral: Array, keys: Keys) -> None:
    tip = np.flatnonzero(starter.vertices_of("tongue"))
    tip = tip[neutral[tip, 2] > neutral[tip, 2].max() - 0.001]
    incisors = np.abs(neutral[:, 0]) < 0.006
    edge = np.flatnonzero(starter.vertices_of("teeth") & (keys.offsets["jawOpen"][:, 1] < -0.02) & incisors)
    edge = edge[keys.neutral[edge, 1].argmax()]

    def above(weight: float, name: str) -> float:
        posed = keys.neutral + weight * keys.offsets[name]
        return float(1e3 * (posed[tip, 1].min() - posed[edge, 1]))

    assert above(0.0, "jawOpen") > 0, "a tip that has to come over the lower teeth rests above them"
    assert above(0.0, "jawOpen") > above(0.5, "jawOpen") > above(1.0, "jawOpen") and above(1.0, "jawOpen") < -2
    assert above(1.0, "yawn") == pytest.approx(above(0.9, "jawOpen"), abs=0.1), "expressions that open it do too"
    assert above(1.0, "mouthSmileLeft") == pytest.approx(above(0.0, "jawOpen"), abs=0.1)
    posed = keys.neutral + keys.offsets["jawOpen"]
    assert depth_inside(posed[starter.vertices_of("tongue")], posed, starter.triangles_of("teeth")) < 3e-4


def test_an_open_mouth_shows_the_upper_teeths_edges(starter: HeadModel, keys: Keys) -> None:
    middle = np.abs(keys.neutral[:, 0]) < 0.005
    upper = starter.vertices_of("teeth") & middle & (np.abs(keys.offsets["jawOpen"][:, 1]) < 1e-3)
    lip = starter.landmark_triangle[13]
    for weight, least in ((0.3, 1e-3), (1.0, 5e-4)):
        posed = keys.neutral + weight * keys.offsets["jawOpen"]
        # the lip's lower edge lies a millimetre below its landmark
        shown = starter.landmark_barycentric[13] @ posed[lip, 1] - 0.0011 - posed[upper, 1].min()
        assert least < shown < 0.003, weight


def test_a_resting_expression_is_not_added_twice(starter: HeadModel, neutral: Array) -> None:
    resting = np.zeros(len(starter.expression_names))
    blink = starter.expression_names.index("eyeBlink_L")
    resting[blink] = 0.25
    shapes = dict(zip(ARKIT, arkit_shapes(starter, neutral, resting), strict=True))
    np.testing.assert_allclose(shapes["eyeBlinkLeft"], 0.75 * starter.expression[blink], atol=1e-7)
    assert np.abs(shapes["eyeBlinkRight"]).max() == pytest.approx(np.abs(starter.expression[blink]).max(), rel=0.01)


def test_skin_stays_out_of_eyes_and_teeth(starter: HeadModel, neutral: Array, keys: Keys) -> None:
    """Each key at four strengths, and a few mixtures: `idto3d.evaluate.keys` does five hundred."""
    part = starter.part[starter.triangle_quad]
    crossings = find_crossings(keys.neutral, starter.triangles, part, starter.part_names)
    held = measure_keys(crossings, keys.neutral, {n: keys.offsets[n] for n in ARKIT}, 20)
    assert held.over == 0, held.worst
    raw = dict(zip(ARKIT, arkit_shapes(starter, neutral, np.zeros(len(starter.expression_names))), strict=True))
    assert 1e3 * crossings.lid_depth(neutral + raw["eyeBlinkLeft"]) > 2, "the ruler would see nothing"
    assert 1e3 * crossings.lip_depth(neutral + raw["mouthRollUpper"]) > 1
    assert np.linalg.norm(keys.neutral - neutral, axis=1)[~starter.vertices_of("tongue")].max() < 0.0015


@pytest.mark.parametrize("into", [0.0004, 0.006])
def test_the_key_that_brings_skin_into_an_obstacle_gives_way(into: float) -> None:
    """A patch of skin before a column: one key moves it in, another a tenth as far along it."""
    radius, margin = 0.05, 2e-4
    low, step = np.array([-1.6, -0.04]), np.array([0.05, 0.001])
    column = Obstacle(np.zeros(3), np.full((65, 81), radius), low, step, True, np.arange(4), 0.01)
    rows, columns = np.mgrid[:15, :15]
    angle, height = ((n.ravel() - 7) * 0.0015 for n in (columns, rows))
    outward = np.stack([np.sin(angle / radius), 0 * angle, np.cos(angle / radius)], 1)
    skin = (radius + margin) * outward + height[:, None] * [0.0, 1.0, 0.0]
    corner = (15 * rows + columns)[:-1, :-1].ravel()[:, None]
    triangles = np.concatenate([corner + [0, 1, 16], corner + [0, 16, 15]])
    all_of_it, margins = np.ones(len(skin), bool), np.full(len(skin), margin)
    everywhere = near_skin(skin, triangles, np.arange(len(skin)), all_of_it, 0.02, margins)
    keys = np.stack([-into * outward, np.broadcast_to([0.0, 0.1 * into, 0.0], skin.shape)])
    still = Moving(column, skin[:4], np.zeros((2, 3, 3)), np.zeros((2, 3)))
    added = clear_keys(skin, keys, everywhere, [still], np.ones((1, 2)), 8)
    assert not pushes((skin + (keys + added).sum(0))[None], margins, [(column, RESTING)])[1].any(), "it is still in it"
    one, other = np.linalg.norm(added, axis=2).max(1)
    assert other < 0.15 * one
    assert np.linalg.norm(added.sum(0), axis=1).max() < 1.3 * into, "it is thrown out"


def test_shapes_that_hardly_move_lips_do_not_pout(starter: HeadModel, neutral: Array, keys: Keys) -> None:
    shapes = dict(zip(ARKIT, arkit_shapes(starter, neutral, np.zeros(len(starter.expression_names))), strict=True))
    skin = starter.vertices_of("face")
    for name in ("cheekSquintLeft", "noseSneerLeft"):
        assert np.linalg.norm(keys.offsets[name] - shapes[name], axis=1)[skin].max() < 3e-3, name


def test_the_ruler_knows_a_cube() -> None:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    cube = np.array([t for a, b, c, d in sides for t in ((a, b, c), (a, c, d))])
    points = np.array([[0.5, 0.5, 0.9], [0.5, 0.3, 0.5], [1.5, 0.5, 0.5], [0.5, 0.5, 1.1]])
    assert depth_inside(points, corners, cube) == pytest.approx(0.3)
    assert depth_inside(points[2:], corners, cube) == 0 and depth_inside(points, corners, cube[:0]) == 0
    two = np.concatenate([cube, cube + 8])
    assert depth_inside(points[:1], np.concatenate([corners, corners + [0, 0, 0.2]]), two) == pytest.approx(0.1)


def test_mixtures_are_natural() -> None:
    weights = draw(np.random.default_rng(3), 200)
    assert 0 <= weights.min() and weights.max() <= 1
    column = {name: weights[:, n] for n, name in enumerate(ARKIT)}
    assert all(np.sum([column[name] for name in group], axis=0).max() <= 1 + 1e-9 for group in AT_MOST_ONE)
    assert (column["mouthClose"] <= column["jawOpen"] + 1e-9).all()
    assert (weights.max(0) > 0.3).all(), "a shape that no mixture shows"
    assert 4 < (weights > 0).sum(1).mean() < 12
    np.testing.assert_array_equal(limited(weights), limited(limited(weights)))
    np.testing.assert_array_equal(in_mirror(in_mirror(weights)), weights)


def test_every_three_of_some_shapes_are_together() -> None:
    rows = together(("jawOpen", "mouthSmile", "mouthClose", "tongueOut"), 3)
    assert len(rows) == 4 and (limited(rows) == rows).all()
    column = {name: rows[:, n] for n, name in enumerate(ARKIT)}
    assert (column["jawOpen"][column["mouthClose"] > 0] > 0).all(), "a closed mouth whose jaw is not open"


def test_a_head_without_mouth_and_lids_gets_the_names(tiny: HeadModel) -> None:
    made = all_keys(tiny, tiny.neutral, np.zeros(len(tiny.expression_names)), {})
    assert list(made.offsets) == [*ARKIT, *VISEMES]
    assert all(np.isfinite(offset).all() for offset in made.offsets.values())
