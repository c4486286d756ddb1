# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a face that is a flat card, with eyes and teeth behind it: what is shortened where is known by hand."""

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.bundle import Wrinkles
from idto3d.finish.creases import anisotropy, chart_of, creases, folding
from idto3d.finish.wrinkles import KEYS, MAPS, Face, make_wrinkles
from idto3d.mesh.texels import make_texels

SIZE = 256
WIDTH, HEIGHT = 0.16, 0.24  # metres; eyes at y = 0, teeth at y = -0.06
PLAIN, UNFOLDED = np.full((SIZE, SIZE, 3), 0.5, np.float32), np.zeros((SIZE, SIZE), np.float32)
OTHER, SIDEWAYS = "half_of_it", "sideways"


def card(share: float = 0.2) -> Face:
    """Seen from the front: u runs to +X, v to +Y. browInnerUp shortens the forehead's height by a share, another key
    by half of it, one more its width; nothing else moves anything."""
    columns, rows = 33, 49
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-0.5, 0.5, columns), np.linspace(0, 1, rows)))
    vertices = np.stack([WIDTH * x, HEIGHT * (y - 0.6), np.zeros_like(x)], 1)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + columns + 1], 1),
         np.stack([corner, corner + columns + 1, corner + columns], 1)]
    )  # fmt: skip
    names = (*sorted(KEYS), OTHER, SIDEWAYS)
    offsets = np.zeros((len(names), len(vertices), 3))
    up = np.maximum(vertices[:, 1] - 0.02, 0)
    offsets[names.index("browInnerUp"), :, 1] = -share * up
    offsets[names.index(OTHER), :, 1] = -0.5 * share * up
    offsets[names.index(SIDEWAYS), :, 0] = -share * vertices[:, 0]
    uv = np.stack([x + 0.5, y], 1)
    texels, small = (make_texels(uv, triangles, triangles, size) for size in (SIZE, 32))
    eyes, teeth = np.array([[0.03, 0, -0.02], [-0.03, 0, -0.02]]), np.array([[0, -0.06, -0.02]])
    return Face(texels, small, vertices, triangles, offsets, names, eyes, teeth)


@pytest.fixture(scope="module")
def made() -> Wrinkles:
    out = make_wrinkles(card(), PLAIN, UNFOLDED)
    assert out is not None
    return out


def lean(image: Array) -> Array:
    """(S,S,2) of a normal map."""
    return image[..., :2].astype(float) / 127.5 - 1


def row_of(y: float) -> int:
    return round((1 - (y / HEIGHT + 0.6)) * SIZE)


def test_skin_folds_across_the_way_in_which_it_is_shortened(made: Wrinkles) -> None:
    """The forehead's lines run from side to side: the normals nod, and do not shake their heads."""
    forehead = lean(made.maps["wrinkles_up"])[row_of(0.055) : row_of(0.035), 60:-60]
    shake, nod = np.sqrt((forehead**2).mean((0, 1)))
    assert nod > 0.03 and nod > 3 * shake
    assert made.maps["wrinkles_up"][row_of(0.055) : row_of(0.035), 60:-60, 3].min() < 180  # creases are deep


def test_nothing_folds_where_nothing_is_shortened(made: Wrinkles) -> None:
    flat = np.array([128, 128, 255, 255])
    assert np.abs(made.maps["wrinkles_down"].astype(int) - flat).max() <= 1
    assert np.abs(made.maps["wrinkles_up"][row_of(0.0) :].astype(int) - flat).max() <= 1


def test_too_little_makes_no_line() -> None:
    out = make_wrinkles(card(0.02), PLAIN, UNFOLDED)
    assert out is not None and np.ptp(out.maps["wrinkles_up"][..., :2]) <= 1


def test_keys_fade_in_what_they_shorten(made: Wrinkles) -> None:
    fade = made.fades[sum(len(group.channels) for group in MAPS["wrinkles_down"])]
    assert (fade.map, fade.mask, fade.channel) == ("wrinkles_up", "wrinkles_up_mask_1", 0)
    assert fade.gains == pytest.approx({"browInnerUp": 1.0, OTHER: 0.5}, abs=0.02)
    mask = made.masks[fade.mask]
    row = round((1 - (0.045 / HEIGHT + 0.6)) * len(mask))
    assert mask[row, 16].tolist() == [255, 0, 0] and not mask[-8:].any()
    assert all(not fade.gains for fade in made.fades if fade.map == "wrinkles_down")


def test_a_key_of_one_side_folds_its_side_alone() -> None:
    face = card()
    for key, side in (("browOuterUpLeft", face.vertices[:, 0] > 0), ("browOuterUpRight", face.vertices[:, 0] < 0)):
        face.offsets[face.names.index(key), side, 1] = -0.2 * np.maximum(face.vertices[side, 1] - 0.02, 0)
    out = make_wrinkles(face, PLAIN, UNFOLDED)
    assert out is not None
    names = [channel.name for groups in MAPS.values() for group in groups for channel in group.channels]
    gains = {name: fade.gains for name, fade in zip(names, out.fades, strict=True)}
    left, right = gains["forehead_left"], gains["forehead_right"]
    assert left["browOuterUpLeft"] == right["browOuterUpRight"] == 1.0
    assert max(left.get("browOuterUpRight", 0), right.get("browOuterUpLeft", 0)) < 0.2  # of the middle's triangles
    assert left["browInnerUp"] == pytest.approx(1.0, abs=0.02)


def test_skin_that_shows_lines_beside_the_eyes_folds_deeper_everywhere() -> None:
    face = card()
    face.offsets[face.names.index("cheekSquintLeft"), :, 1] = -0.2 * np.clip(face.vertices[:, 1], -0.02, 0.02)
    grain = 0.02 * np.random.default_rng(0).normal(size=(SIZE, SIZE, 1)).astype(np.float32)
    lines = 0.03 * np.sin(np.arange(SIZE) * 2 * np.pi / 4, dtype=np.float32)[:, None, None]
    lined, smooth = (make_wrinkles(face, PLAIN + detail, UNFOLDED) for detail in (grain + lines, grain))
    assert lined is not None and smooth is not None
    forehead = np.s_[row_of(0.055) : row_of(0.035), 60:-60]
    deep, shallow = ((lean(one.maps["wrinkles_up"])[forehead] ** 2).mean() ** 0.5 for one in (lined, smooth))
    assert deep > 2 * shallow


def test_a_dark_line_of_the_photographs_deepens() -> None:
    """Of two faces that differ by one dark line, the one has its crease there."""
    drawn, row = PLAIN.copy(), row_of(0.045)
    drawn[row - 1 : row + 2] *= 0.9
    deep = []
    for albedo in (PLAIN, drawn):
        out = make_wrinkles(card(), albedo, UNFOLDED)
        assert out is not None
        deep.append(255 - out.maps["wrinkles_up"][row - 1 : row + 2, 60:-60, 3].astype(float).min(0).mean())
    assert deep[1] > deep[0] + 40


def test_a_fold_that_a_photograph_shows_is_where_it_is_and_where_skin_is_shortened(made: Wrinkles) -> None:
    forehead, cheek = row_of(0.045), row_of(-0.03)
    shown = UNFOLDED.copy()
    for row in (forehead, cheek):
        shown[row - 2 : row + 3, 60:-60] = 0.3
    out = make_wrinkles(card(), PLAIN, shown)
    assert out is not None
    deeper = made.maps["wrinkles_up"][..., 3].astype(float) - out.maps["wrinkles_up"][..., 3]
    assert deeper[forehead, 64:-64].mean() > 60 and np.abs(deeper[forehead + 12 :]).max() <= 1
    nod = lean(out.maps["wrinkles_up"])[..., 1] - lean(made.maps["wrinkles_up"])[..., 1]
    above, below = nod[forehead - 3, 64:-64], nod[forehead + 3, 64:-64]
    assert (above * below < 0).mean() > 0.9 and np.abs(above).mean() > 0.05  # its walls lean towards each other


def test_a_head_without_the_keys_has_no_lines() -> None:
    face = card()
    few = Face(face.texels, face.small, face.vertices, face.triangles, face.offsets[:2], face.names[:2],
               face.eyes, face.teeth)  # fmt: skip
    assert make_wrinkles(few, PLAIN, UNFOLDED) is None


def test_creases_have_the_width_and_distance_asked_for() -> None:
    """A sheet shortened along X: creases run along Y, at the bottom of a wave that is given."""
    face = card()
    chart = chart_of(face.texels, face.vertices)
    strain = np.zeros((SIZE, SIZE, 6), np.float32)
    strain[..., 0] = -0.2
    shortened, lines = folding(chart, strain)
    np.testing.assert_allclose(shortened, 0.2, rtol=1e-5)
    np.testing.assert_allclose(np.abs(lines[..., 1]), 1, atol=1e-5)
    pattern = MAPS["wrinkles_up"][0].pattern
    x = chart.points[..., 0]
    height = creases(chart, np.cos(2 * np.pi * x / pattern.apart), lines, shortened > 0, pattern)
    line = height[SIZE // 2, 20:-20]
    bottoms = x[SIZE // 2, 20:-20][np.flatnonzero((line[1:-1] < line[:-2]) & (line[1:-1] <= line[2:])) + 1]
    np.testing.assert_allclose(np.diff(bottoms), pattern.apart, atol=2 * WIDTH / SIZE)
    np.testing.assert_allclose(np.cos(2 * np.pi * bottoms / pattern.apart), -1, atol=0.1)
    assert line.min() < -0.8 and (line < -0.5).mean() < 3 * pattern.width / pattern.apart
    assert np.abs(np.diff(height[30:-30, 30:-30], axis=0)).max() < 0.05


def test_lined_skin_changes_more_across_its_lines() -> None:
    """sin(x) + sin(y) / 2 with lines along Y: the slopes across them are twice as steep as those along."""
    face = card()
    chart = chart_of(face.texels, face.vertices)
    image = np.sin(chart.points[..., 0] * 500) + 0.5 * np.sin(chart.points[..., 1] * 500)
    lines = np.zeros((SIZE, SIZE, 2))
    lines[..., 1] = 1
    inside = np.zeros((SIZE, SIZE), bool)
    inside[40:-40, 40:-40] = True
    assert anisotropy(chart, image, lines, inside) == pytest.approx(2, rel=0.05)
    assert anisotropy(chart, image, lines, inside & False) == 1
