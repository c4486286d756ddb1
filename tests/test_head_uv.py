# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwrapping, rasterising in texture space, seam padding."""

from __future__ import annotations

import numpy as np
import pytest

from idto3d.head.uv import Unwrap, overlap_share, pad_seams, rasterize_uv, unwrap
from idto3d.volume.marching_tets import marching_tetrahedra
from idto3d.volume.tetgrid import kuhn_grid

QUAD_UV = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
QUAD = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(scope="module")
def bumpy() -> tuple[np.ndarray, np.ndarray, Unwrap]:
    grid = kuhn_grid((16, 16, 16), ((-0.1, -0.1, -0.1), (0.1, 0.1, 0.1)))
    sdf = grid.points.norm(dim=1) - 0.07 + 0.006 * (60 * grid.points).sin().prod(1)
    surface = marching_tetrahedra(grid.points, grid.tets, sdf)
    vertices, faces = surface.vertices.numpy(), surface.faces.numpy()
    return vertices, faces, unwrap(vertices, faces, resolution=512, padding=4)


def signed_areas(uv: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = uv.astype(np.float64)[faces].transpose(1, 0, 2)
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def test_unwrap_maps_every_face_with_area(bumpy: tuple[np.ndarray, np.ndarray, Unwrap]) -> None:
    _, faces, result = bumpy
    assert np.array_equal(result.vertex[result.faces_uv], faces)
    assert result.uv.shape == (len(result.vertex), 2) and result.uv.min() >= 0 and result.uv.max() <= 1
    areas = signed_areas(result.uv, result.faces_uv)
    assert (areas != 0).all() and (areas > 0).mean() > 0.9 and areas.sum() > 0.3  # few charts, if any, are mirrored
    assert overlap_share(result.uv, result.faces_uv, 512) < 0.002
    assert result.charts <= 20


def test_nothing_is_stretched_much_or_turned_over(bumpy: tuple[np.ndarray, np.ndarray, Unwrap]) -> None:
    vertices, faces, result = bumpy
    a, b, c = vertices.astype(np.float64)[faces].transpose(1, 0, 2)
    surface = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    flat = signed_areas(result.uv, result.faces_uv)
    assert flat[flat < 0].sum() > -0.002 * flat.sum()
    ratio = flat / surface * surface.sum() / flat.sum()
    assert np.percentile(ratio, 5) > 0.5 and np.percentile(ratio, 95) < 2


def test_charts_end_with_their_group_and_density_is_kept(bumpy: tuple[np.ndarray, np.ndarray, Unwrap]) -> None:
    vertices, faces, _ = bumpy
    left = vertices[faces].mean(1)[:, 0] < 0
    result = unwrap(vertices, faces, resolution=512, group=left.astype(int), density=np.where(left, 2.0, 1.0))
    assert np.array_equal(result.vertex[result.faces_uv], faces)
    flat = signed_areas(result.uv, result.faces_uv)
    assert flat[left].sum() / flat[~left].sum() == pytest.approx(4, rel=0.1)


def test_a_handle_is_cut_open() -> None:
    grid = kuhn_grid((24, 24, 12), ((-0.1, -0.1, -0.05), (0.1, 0.1, 0.05)))
    p = grid.points
    ring = ((p[:, :2].norm(dim=1) - 0.06).square() + p[:, 2].square()).sqrt() - 0.02
    surface = marching_tetrahedra(p, grid.tets, ring)
    result = unwrap(surface.vertices.numpy(), surface.faces.numpy(), resolution=512)
    assert np.array_equal(result.vertex[result.faces_uv], surface.faces.numpy())
    assert overlap_share(result.uv, result.faces_uv, 512) < 0.002 and result.charts <= 16


def test_charts_keep_their_distance(bumpy: tuple[np.ndarray, np.ndarray, Unwrap]) -> None:
    """Grow the charts by the asked padding less one texel of rounding, half each: no two may meet."""
    _, _, result = bumpy
    label = np.arange(len(result.uv))
    for _ in range(len(result.uv)):
        lowest = label[result.faces_uv].min(1)
        new = label.copy()
        np.minimum.at(new, result.faces_uv.reshape(-1), np.repeat(lowest, 3))
        if np.array_equal(new, label):
            break
        label = new
    tri_id, _ = rasterize_uv(result.uv, result.faces_uv, 512)
    image = np.where(tri_id >= 0, label[result.faces_uv[:, 0]][tri_id] + 1, 0)
    assert len(np.unique(image)) - 1 == result.charts
    for shift in range(1, 4):
        for axis in (0, 1):
            moved = np.roll(image, shift, axis)
            assert not ((moved != image) & (moved > 0) & (image > 0)).any()


def test_texture_round_trip(bumpy: tuple[np.ndarray, np.ndarray, Unwrap]) -> None:
    """Bake positions into the texture, then look each face's centre up again: within about a texel."""
    vertices, faces, result = bumpy
    size = 512
    tri_id, bary = rasterize_uv(result.uv, result.faces_uv, size)
    covered = tri_id >= 0
    image = np.zeros((size, size, 3), dtype=np.float32)
    image[covered] = (vertices[faces[tri_id[covered]]] * bary[covered][..., None]).sum(1)
    image = pad_seams(image, covered, 4)
    u, v = result.uv[result.faces_uv].mean(1).T
    found = image[((1 - v) * size).astype(int), (u * size).astype(int)]
    assert np.linalg.norm(found - vertices[faces].mean(1), axis=1).max() < 0.003


def test_rasterize_two_triangles_by_hand() -> None:
    tri_id, bary = rasterize_uv(QUAD_UV, QUAD, 4)
    # Face 0 is the half below the diagonal that rises to the right; the diagonal's own texels go to the lower number.
    expected = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert np.array_equal(tri_id, expected)
    assert np.allclose(bary.sum(-1), 1)
    # Texel (row 3, column 2): u = 0.625, v = 0.125 in face 0 = (0,0), (1,0), (1,1).
    assert np.allclose(bary[3, 2], [0.375, 0.5, 0.125])


def test_rasterize_leaves_the_outside_empty_and_takes_both_windings() -> None:
    uv = np.array([[0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [0.0, 1.0]])  # the top left quarter
    for faces in (QUAD, QUAD[:, ::-1]):
        tri_id, bary = rasterize_uv(uv, faces, 8)
        assert (tri_id[:4, :4] >= 0).all() and (tri_id >= 0).sum() == 16
        assert not bary[tri_id < 0].any()
    assert (rasterize_uv(QUAD_UV * 3 - 1, QUAD, 8)[0] >= 0).all()  # reaches beyond the texture on all sides
    assert (rasterize_uv(QUAD_UV + 1, QUAD, 8)[0] < 0).all()


def test_overlap_is_measured() -> None:
    assert overlap_share(QUAD_UV, QUAD, 64) == 0.0
    doubled = np.concatenate([QUAD, [[0, 1, 2]]])
    # The second copy covers a half of the texture; its strict inside leaves out the diagonal.
    assert overlap_share(QUAD_UV, doubled, 64) == pytest.approx(64 * 63 / 2 / 64**2)


def test_pad_seams_by_hand() -> None:
    image = np.array([[0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 7.0]])
    mask = image > 0
    assert pad_seams(image, mask, 1).tolist() == [[5, 5, 5, 0, 0, 7, 7]]
    padded = pad_seams(image, mask, 2)
    assert padded.tolist() == [[5, 5, 5, 5, 7, 7, 7]]
    assert pad_seams(image, mask, 0).tolist() == image.tolist() and image[0, 0] == 0.0
    assert pad_seams(image, np.zeros_like(mask), 3).tolist() == image.tolist()


def test_pad_seams_takes_colours_and_euclidean_distance() -> None:
    image = np.zeros((5, 5, 3), dtype=np.float32)
    mask = np.zeros((5, 5), dtype=bool)
    image[2, 2], mask[2, 2] = (0.1, 0.2, 0.3), True
    padded = pad_seams(image, mask, 1)
    assert padded.dtype == np.float32 and (padded[..., 2] > 0).sum() == 5  # the four neighbours, no diagonals
    assert np.array_equal(padded[1, 2], image[2, 2]) and not padded[1, 1].any()


def test_unwrap_refuses_an_empty_mesh() -> None:
    with pytest.raises(ValueError, match="no faces"):
        unwrap(np.zeros((0, 3)), np.zeros((0, 3), dtype=int))
