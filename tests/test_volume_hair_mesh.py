# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of a mesh of hair when edges have been collapsed, and how it ends at its border."""

import cv2
import numpy as np
import pytest

from idto3d.volume.hair import Ground, HairVolume
from idto3d.volume.hair_mesh import FRAY, SOFT, HairMesh, extract, opacity, to_tips, with_rim, without_fins
from idto3d.volume.hood import PIXEL, Hood, flatten
from idto3d.volume.ribbons import Cover
from idto3d.volume.strands import DISK
from idto3d.volume.tetgrid import lattice_band

HOOD = Hood(np.zeros(3), 0.09, 0.2)
ROWS, COLUMNS = np.mgrid[: HOOD.side, : HOOD.side]


@pytest.mark.parametrize(("along", "uneven"), [((0.0, 1.0), 0.02), ((0.0, 1.0), 0.01), ((1.0, 0.0), None)])
def test_strands_that_run_out_over_a_border_are_unequally_long(along: tuple[float, float], uneven: float) -> None:
    """Hair 25 or 12.5 millimetres thick, down to row 60; of strands that run along its border none ends there."""
    border = (60.0 - ROWS) * PIXEL
    thick = (uneven or 0.02) / 0.8
    flow = np.broadcast_to(np.array(along, np.float32), (*ROWS.shape, 2))
    share = to_tips(
        Cover(HOOD, np.full(ROWS.shape, 0.1 + thick), np.full(ROWS.shape, 0.1), border, flow, 0.0), 0.0 * border
    )
    if uneven is None:
        assert share[30:56].min() > 5
    else:
        assert share[20:40].min() > 5
        np.testing.assert_allclose(share[57].mean(), 3.5 * PIXEL / uneven, rtol=0.3)
        assert share[57].std() > 0.1
        assert share[:61].min() > -0.65 and share[62:].max() < 0.65


def test_short_hair_goes_over_into_the_neck_strand_by_strand() -> None:
    border = (60.0 - ROWS) * PIXEL
    flow = np.broadcast_to(np.array((0.0, 1.0), np.float32), (*ROWS.shape, 2))
    thin = Cover(HOOD, np.full(ROWS.shape, 0.103), np.full(ROWS.shape, 0.1), border, flow, 0.0)
    for tapered, uneven in ((0.0, 0.006), (1.0, 0.018)):
        share = to_tips(thin, np.full(ROWS.shape, tapered))
        np.testing.assert_allclose(share[57].mean(), 3.5 * PIXEL / uneven, rtol=0.3)


def test_hair_that_is_nothing_but_a_rim_has_ends() -> None:
    none = np.full(ROWS.shape, -PIXEL)
    flow = np.broadcast_to(np.array((0.0, 1.0), np.float32), (*ROWS.shape, 2))
    assert to_tips(Cover(HOOD, none + 0.1, none + 0.1, none, flow, 0.0), 0.0 * none).max() < 1


def test_strands_run_out_one_by_one_and_softly() -> None:
    """Towards a border across the map: nothing on it, all a centimetre inside, and between no hard step."""
    rows = np.arange(HOOD.side, dtype=np.float32)[:, None] - HOOD.side // 2
    size = 2048
    border = np.broadcast_to(rows * PIXEL, (HOOD.side, HOOD.side)).astype(np.float32)
    strands = np.where(np.arange(size) < size // 2, 1.0, -1.0) * np.ones((size, 1))
    alpha = opacity(HOOD, border, strands)
    texel = HOOD.reach / (DISK * size)
    light, dark = alpha[:, size // 2 - 5], alpha[:, size // 2 + 5]
    for line in (light, dark):
        middle = (line > 0) & (line < 1)
        assert line[: size // 2 - 1].max() == 0 and line[size // 2 + round(0.01 / texel) :][:20].min() == 1
        assert middle.sum() * texel > 0.5 * SOFT and np.abs(np.diff(line)).max() < 0.2
    assert dark.sum() > light.sum() + 1


def ground(rim: float) -> Ground:
    rest = np.zeros((HOOD.side, HOOD.side))
    return Ground(HOOD, rest, rest, rest, rest + rim, rest, 0.0)


def test_a_rim_is_drawn_by_the_photo_that_faces_it() -> None:
    """Left half faced, its lower part bare; what lies three centimetres in hair is whole whatever a mask says, and so
    is what no photo is asked about."""
    drawn_by_photos, plain = ground(0.005), np.zeros((64, 64))
    border = np.full((HOOD.side, HOOD.side), 0.01)
    alpha = np.full((64, 64), 0.4)
    cover, faced = np.ones((64, 64)), np.zeros((64, 64))
    cover[40:], faced[:, :32] = 0.0, 1.0
    drawn = with_rim(drawn_by_photos, border, alpha, plain, cover, faced)
    np.testing.assert_allclose(drawn[:, 32:], 0.4)
    np.testing.assert_allclose(drawn[:37, :32], 1.0)
    np.testing.assert_allclose(drawn[43:, :32], 0.0)
    np.testing.assert_allclose(with_rim(drawn_by_photos, border + FRAY + 0.02, alpha, plain, cover, faced), 0.4)
    np.testing.assert_allclose(with_rim(ground(0.0), border, alpha, plain, cover, faced), 0.4)


def test_a_rim_is_as_ragged_as_its_strands() -> None:
    """Of a mask that fades over 20 rows, light strands go on farther than dark ones."""
    border, faced = np.full((HOOD.side, HOOD.side), 0.01), np.ones((64, 64))
    cover = np.repeat(np.clip((42.0 - np.arange(64)) / 20.0, 0.0, 1.0)[:, None], 64, 1)
    strands = np.where(np.arange(64) < 32, 1.0, -1.0) * np.ones((64, 1))
    drawn = with_rim(ground(0.005), border, 0.0 * faced, strands, cover, faced)
    assert (drawn[:, 10] > 0.5).sum() > (drawn[:, 50] > 0.5).sum() + 4


def test_what_a_mask_has_of_specks_is_not_drawn() -> None:
    """Tufts of 4 mm on bare skin go, ones of 16 mm stay; pinholes in hair are closed, and larger ones are not, softly
    as masks are blurred."""
    size = 512
    texel = HOOD.reach / (DISK * size)
    cover = (np.arange(size) < size // 2)[:, None] * np.ones((1, size))
    places = (
        (384, 128, 0.002, 1.0, 0.0),
        (384, 384, 0.008, 1.0, 1.0),
        (128, 128, 0.001, 0.0, 1.0),
        (128, 384, 0.008, 0.0, 0.0),
    )
    for row, column, radius, value, _ in places:
        cv2.circle(cover, (column, row), max(round(radius / texel), 1), value, -1)
    faced, border = np.ones((size, size)), np.full((HOOD.side, HOOD.side), 0.01)
    drawn = with_rim(ground(0.005), border, 0.0 * faced, 0.0 * faced, cover, faced)
    middles = np.array([drawn[row, column] for row, column, *_ in places])
    np.testing.assert_allclose(middles, [expected for *_, expected in places], atol=0.2)
    np.testing.assert_array_equal(middles[[0, 2]], [0.0, 1.0])


def test_two_faces_back_to_back_go_with_their_tip() -> None:
    """Seen: a bundle was refused, as no face may be there twice. A tetrahedron, and a fin on one of its edges."""
    solid = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 2, 2]])
    kept, triangles = without_fins(vertices, np.concatenate([solid, [[0, 1, 4], [1, 0, 4]]]))
    np.testing.assert_array_equal(kept, vertices[:4])
    np.testing.assert_array_equal(triangles, solid)


def cap(thick: float, skin: np.ndarray) -> HairMesh:
    """Hair on the upper half of a ball of 10 cm, so many metres thick; skin (side,side): its radius."""
    axis = np.arange(-0.14, 0.14, 0.007)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    distance = np.linalg.norm(points, axis=-1)
    sdf = np.maximum(np.maximum(distance - 0.1 - thick, 0.09 - distance), -points[..., 1])
    where, tets = lattice_band(sdf, 0.02)
    flow = np.stack([COLUMNS, ROWS], -1) - HOOD.side // 2
    flow = flow / np.maximum(np.linalg.norm(flow, axis=-1, keepdims=True), 1.0)
    flat = np.zeros(ROWS.shape)
    on = Ground(HOOD, skin, flat + 0.01, flat, flat, flow, 0.0)
    grid = points.reshape(-1, 3)[where].astype(np.float32), tets, sdf.ravel()[where].astype(np.float32)
    mesh = extract(HairVolume(*grid, np.zeros(len(where), np.float32), on, (0,)))
    assert mesh is not None
    return mesh


@pytest.mark.parametrize(("thick", "least", "most"), [(0.006, 0.0, 0.1), (0.03, 0.5, 1.5)])
def test_hair_has_locks_unless_it_is_cut_short(thick: float, least: float, most: float) -> None:
    mesh = cap(thick, np.full(ROWS.shape, 0.1))
    near_crown = slice(96, 160)
    assert least <= mesh.locks[near_crown, near_crown].std() < most


def test_no_ear_looks_out_of_hair() -> None:
    """A ridge of 14 mm, as wide as a pixel of the maps, which the grid of 7 mm does not know."""
    skin = np.full(ROWS.shape, 0.1)
    middle = HOOD.side // 2
    ridge = (np.abs(ROWS - middle) == 8) & (np.abs(COLUMNS - middle) <= 8)
    skin[ridge] += 0.014
    mesh = cap(0.012, skin)
    radius, hit = flatten(HOOD, mesh.vertices, mesh.triangles[: mesh.outer], True)
    assert (hit[ridge] >= 0).all()
    assert (radius[ridge] > skin[ridge] - 0.0005).all(), (radius[ridge] - skin[ridge]).min()
    plain = (hit >= 0) & ~cv2.dilate(ridge.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert np.median(radius[plain]) < 0.1135, "hair has grown everywhere"
