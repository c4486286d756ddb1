# SPDX-License-Identifier: GPL-3.0-or-later
"""Coverage, barycentric coordinates, interpolation and antialiasing against hand-computed and numerical values."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from idto3d.render import raster as raster_module
from idto3d.render.cameras import Camera, to_clip
from idto3d.render.gather import blend_rows, gather_rows, scatter_add_rows
from idto3d.render.raster import antialias, interpolate, rasterize
from idto3d.render.zbuffer import edge_neighbours
from tests.second_device import DEVICE, second_device

SQUARE = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
SQUARE_FACES = torch.tensor([[0, 1, 2], [1, 3, 2]])


def flat_clip(xy: Tensor, z: float = 0.0, w: Tensor | None = None) -> Tensor:
    """NDC points (V,2) at depth z as clip coordinates (1,V,4) with the given w."""
    w = torch.ones(len(xy), dtype=xy.dtype) if w is None else w
    ndc = torch.cat([xy, torch.full_like(xy[:, :1], z), torch.ones_like(xy[:, :1])], dim=1)
    return (ndc * w[:, None])[None]


def sphere(subdivisions: int, radius: float = 1.0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    return torch.tensor(np.array(mesh.vertices), dtype=dtype) * radius, torch.tensor(np.array(mesh.faces)).long()


def soft_area(clip: Tensor, faces: Tensor, size: int) -> Tensor:
    raster = rasterize(clip, faces, size)
    return antialias(raster.mask, raster, clip, faces).sum()


def test_no_image_is_copied_from_another_device() -> None:
    size = 16
    with second_device() as downloaded:
        clip, faces = (flat_clip(0.7 * SQUARE), SQUARE_FACES)
        area = soft_area(clip.to(DEVICE), faces.to(DEVICE), size)
        seen = [shape for shape in downloaded if shape[-2:] == (size, size)]
    assert downloaded and not seen
    assert float(area.cpu()) == pytest.approx((0.7 * size) ** 2, rel=0.01)


@pytest.mark.parametrize("flip", [False, True])
def test_pixel_centres_on_a_shared_edge_belong_to_one_face(flip: bool) -> None:
    faces = SQUARE_FACES.flip(1) if flip else SQUARE_FACES
    seen = rasterize(flat_clip(SQUARE), faces, 4).tri_id[0]
    # The diagonal runs through four pixel centres; it is the left edge of the upper right face, which owns them.
    assert seen.tolist() == [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]
    alone = rasterize(flat_clip(SQUARE), faces[:1], 4).tri_id[0]
    assert alone.tolist() == [[-1, -1, -1, -1], [0, -1, -1, -1], [0, 0, -1, -1], [0, 0, 0, -1]]


def test_a_triangulation_covers_each_pixel_once() -> None:
    rng = np.random.default_rng(0)
    line = np.linspace(-1.0, 1.0, 9)
    grid = np.stack(np.meshgrid(line, line), -1)
    # Half the inner points stay on the pixel lattice, where the fill rule matters.
    jitter = rng.uniform(-0.08, 0.08, (7, 7, 2)) * rng.integers(0, 2, (7, 7, 1))
    grid[1:-1, 1:-1] += jitter
    corner = np.arange(81).reshape(9, 9)
    a, b, c, d = corner[:-1, :-1].ravel(), corner[:-1, 1:].ravel(), corner[1:, 1:].ravel(), corner[1:, :-1].ravel()
    faces = torch.tensor(np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))
    clip = flat_clip(torch.tensor(grid.reshape(-1, 2)))
    times = torch.stack([rasterize(clip, f[None], 33).tri_id[0] >= 0 for f in faces]).sum(0)
    assert times.tolist() == torch.ones(33, 33).tolist()


def test_barycentrics_are_perspective_correct() -> None:
    clip = flat_clip(SQUARE[:3], w=torch.tensor([1.0, 3.0, 1.0]))
    bary = rasterize(clip, SQUARE_FACES[:1], 4).bary
    # Centre (-.75,-.75): screen weights (.75,.125,.125), over w and renormalised.
    expected = torch.tensor([0.75, 0.125 / 3.0, 0.125]) / (0.75 + 0.125 / 3.0 + 0.125)
    torch.testing.assert_close(bary[0, 3, 0], expected)
    assert bary[0, 0, 3].tolist() == [0.0, 0.0, 0.0]


def test_row_zero_is_up_and_column_zero_is_left() -> None:
    triangle = torch.tensor([[-1.0, 1.0], [-1.0, 0.0], [0.0, 1.0]])
    seen = rasterize(flat_clip(triangle), torch.tensor([[0, 1, 2]]), 8).tri_id[0]
    assert seen[0, 0] == 0 and seen[0, 7] == -1 and seen[7, 0] == -1


def test_the_nearest_face_wins_in_either_order() -> None:
    clip = torch.cat([flat_clip(SQUARE, 0.5), flat_clip(SQUARE, -0.5)], dim=1)
    back, front = SQUARE_FACES, SQUARE_FACES + 4
    assert (rasterize(clip, torch.cat([back, front]), 8).tri_id >= 2).all()
    seen = rasterize(clip, torch.cat([front, back]), 8)
    assert (seen.tri_id < 2).all()
    torch.testing.assert_close(seen.depth, torch.full((1, 8, 8), -0.5))


@pytest.mark.parametrize("moved", [{"w": -1.0}, {"z": -1.5}, {"w": float("nan")}])
def test_a_face_across_the_near_plane_is_dropped(moved: dict[str, float]) -> None:
    clip = flat_clip(SQUARE)
    for name, value in moved.items():
        clip[0, 3, "xyzw".index(name)] = value
    seen = rasterize(clip, SQUARE_FACES, 4)
    assert set(seen.tri_id.unique().tolist()) == {-1, 0}
    assert torch.isfinite(antialias(seen.mask, seen, clip, SQUARE_FACES)).all()


def test_slivers_have_bounded_weights_and_no_gradient() -> None:
    # 2e-3 pixels high across the centres of a row, as marching tetrahedra leave them.
    pixels = torch.tensor([[0.1, 3.0 - 1e-3], [6.9, 3.0 - 1e-3], [3.5, 3.0 + 1e-3]])
    xy = (2.0 * pixels + 1.0) / 8.0 - 1.0
    clip = flat_clip(xy * torch.tensor([1.0, -1.0])).requires_grad_()
    faces = torch.tensor([[0, 1, 2]])
    raster = rasterize(clip, faces, 8)
    assert raster.pixels.numel() >= 3
    assert raster.weights.min() >= 0
    torch.testing.assert_close(raster.weights.sum(1), torch.ones(raster.pixels.numel()))
    interpolate(torch.tensor([[0.0], [1.0], [5.0]]), raster, faces).sum().backward()
    assert clip.grad is not None and clip.grad.abs().max() == 0


def test_nothing_in_view() -> None:
    clip = flat_clip(SQUARE + 5.0).requires_grad_()
    raster = rasterize(clip, SQUARE_FACES, 8)
    image = antialias(interpolate(torch.ones(4, 2), raster, SQUARE_FACES), raster, clip, SQUARE_FACES)
    assert image.shape == (1, 8, 8, 2)
    image.sum().backward()
    assert image.abs().sum() == 0 and clip.grad is not None and clip.grad.abs().sum() == 0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="clip"):
        rasterize(torch.zeros(3, 4), SQUARE_FACES, 4)


def test_interpolation_is_linear_on_the_surface() -> None:
    # With perspective, an attribute that is linear in clip space keeps its value at the surface point seen.
    vertices, faces = sphere(2, 0.1)
    clip = to_clip(vertices, [Camera(30.0, 10.0, 0.5, 30.0)])
    raster = rasterize(clip, faces, 64)
    seen = interpolate(clip, raster, faces)
    row, column = torch.nonzero(raster.tri_id[0] >= 0, as_tuple=True)
    point = seen[0, row, column]
    torch.testing.assert_close(point[:, 0] / point[:, 3], (2 * column + 1) / 64 - 1, atol=1e-5, rtol=0)
    torch.testing.assert_close(point[:, 1] / point[:, 3], 1 - (2 * row + 1) / 64, atol=1e-5, rtol=0)


def test_views_of_a_batch_are_independent() -> None:
    vertices, faces = sphere(2, 0.1)
    cams = [Camera(0.0, 0.0, 0.5, 30.0), Camera(120.0, 20.0, 0.4, 40.0), Camera(-80.0, -30.0, 0.6, 35.0)]
    sets = torch.stack([vertices, vertices * 1.2, vertices * torch.tensor([1.0, 0.7, 1.0])])
    clip = to_clip(sets, cams)
    together = rasterize(clip, faces, 48)
    images = antialias(interpolate(sets, together, faces), together, clip, faces)
    for b, cam in enumerate(cams):
        one = to_clip(sets[b], [cam])
        single = rasterize(one, faces, 48)
        torch.testing.assert_close(together.tri_id[b], single.tri_id[0])
        image = antialias(interpolate(sets[b], single, faces), single, one, faces)
        torch.testing.assert_close(images[b], image[0], atol=1e-6, rtol=1e-5)


def test_colour_gradient_matches_finite_differences() -> None:
    """Inside the outline: positions and attributes, without antialiasing, where coverage is locally constant."""
    vertices, faces = sphere(1, 0.1, torch.float64)
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(len(vertices), 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(1, 32, 32, 2, generator=generator, dtype=torch.float64)
    cams = [Camera(25.0, 15.0, 0.5, 30.0)]

    def loss(points: Tensor, colour: Tensor) -> Tensor:
        return (interpolate(colour, rasterize(to_clip(points, cams), faces, 32), faces) * weights).sum()

    points, colour = vertices.clone().requires_grad_(), colours.clone().requires_grad_()
    loss(points, colour).backward()
    assert points.grad is not None and colour.grad is not None
    for tensor, grad in ((vertices, points.grad), (colours, colour.grad)):
        direction = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        step = 1e-7 * direction
        if tensor is vertices:
            numeric = (loss(vertices + step, colours) - loss(vertices - step, colours)) / 2e-7
        else:
            numeric = (loss(vertices, colours + step) - loss(vertices, colours - step)) / 2e-7
        torch.testing.assert_close((grad * direction).sum(), numeric, rtol=1e-5, atol=1e-8)


def test_a_straight_edge_is_blended_by_the_covered_share() -> None:
    # The right border at NDC .3 of 4 pixels is x = 2.1 in pixel units, so the third column is covered by .6.
    clip = flat_clip(torch.tensor([[-1.0, -1.0], [0.3, -1.0], [-1.0, 1.0], [0.3, 1.0]])).requires_grad_()
    raster = rasterize(clip, SQUARE_FACES, 4)
    image = antialias(raster.mask, raster, clip, SQUARE_FACES)
    torch.testing.assert_close(image[0, :, :, 0], torch.tensor([1.0, 1.0, 0.6, 0.0]).expand(4, 4))
    image.sum().backward()
    # Moving the border right by 1 NDC = 2 pixels would cover 2 more pixels in each of 4 rows.
    assert clip.grad is not None
    torch.testing.assert_close(clip.grad[0, :, 0].sum(), torch.tensor(8.0))


def test_inner_edges_are_not_blended() -> None:
    clip = flat_clip(SQUARE)
    raster = rasterize(clip, SQUARE_FACES, 16)
    image = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(antialias(image, raster, clip, SQUARE_FACES), image)


@pytest.mark.parametrize("angle", [0.0, 20.0, 44.0, 45.0, 70.0])
def test_area_gradient_of_a_rotated_square(angle: float) -> None:
    """d(area)/d(scale) is twice the area; taking slanted edges in both directions would give up to double that."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turned = SQUARE.double() * 0.47 @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    area = soft_area(flat_clip(turned * scale), SQUARE_FACES, 128)
    area.backward()
    true_area = (2 * 0.47 * 64) ** 2
    assert scale.grad is not None
    assert float(area.detach()) == pytest.approx(true_area, rel=0.005)
    assert float(scale.grad) == pytest.approx(2 * true_area, rel=0.02)


@pytest.mark.parametrize(("subdivisions", "size"), [(2, 128), (5, 128)])
def test_outline_gradient_of_a_sphere(subdivisions: int, size: int) -> None:
    """Also where faces at the outline are far smaller than a pixel (20,480 faces in 128 x 128)."""
    vertices, faces = sphere(subdivisions, 0.12)
    cams = [Camera(20.0, 10.0, 0.6, 32.0)]
    scale = torch.ones((), requires_grad=True)
    soft_area(to_clip(vertices * scale, cams), faces, size).backward()
    assert scale.grad is not None
    numeric = [float(soft_area(to_clip(vertices * s, cams), faces, size)) for s in (0.98, 1.02)]
    assert float(scale.grad) == pytest.approx((numeric[1] - numeric[0]) / 0.04, rel=0.03)
    if subdivisions == 5:
        # A sphere of radius r at distance d fills a disc of NDC radius focal * r / sqrt(d^2 - r^2).
        focal, r, d = 1.0 / math.tan(math.radians(16.0)), 0.12, 0.6
        gradient = math.pi * (size / 2 * focal) ** 2 * 2 * r**2 * d**2 / (d**2 - r**2) ** 2
        assert float(scale.grad) == pytest.approx(gradient, rel=0.03)


def test_outline_gradient_in_front_of_another_surface() -> None:
    """A bright square over a dark one: only the front outline counts, times the difference of the colours."""
    scale = torch.ones((), requires_grad=True)
    clip = torch.cat([flat_clip(SQUARE * 0.43 * scale, -0.5), flat_clip(SQUARE, 0.5)], dim=1)
    faces = torch.cat([SQUARE_FACES, SQUARE_FACES + 4])
    raster = rasterize(clip, faces, 64)
    colour = torch.cat([torch.full((4, 1), 0.9), torch.full((4, 1), 0.4)])
    antialias(interpolate(colour, raster, faces), raster, clip, faces).sum().backward()
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(0.5 * 2 * (2 * 0.43 * 32) ** 2, rel=0.03)


def test_edge_neighbours() -> None:
    # Two faces share 1-2; a third face on 0-1 with a fourth makes that edge belong to three: no neighbour there.
    faces = np.array([[0, 1, 2], [1, 3, 2], [1, 0, 4], [0, 1, 5]])
    neighbour = edge_neighbours(faces, 6)
    assert neighbour[0].tolist() == [-1, 3 * 1 + 2, -1]
    assert neighbour[1].tolist() == [-1, -1, 3 * 0 + 1]
    assert (neighbour[2:] == -1).all()


def test_gather_and_scatter_gradients() -> None:
    index = torch.tensor([2, 0, 2, 1])
    values = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gather_rows(v, index), (values,))
    assert torch.autograd.gradcheck(lambda v: scatter_add_rows(v, index, 5), (values,))
    pairs, weights = torch.tensor([[2, 0], [2, 3], [1, 1]]), torch.rand(3, 2)
    assert torch.autograd.gradcheck(lambda v: blend_rows(v, pairs, weights), (values,))
    torch.testing.assert_close(blend_rows(values, pairs, weights), (values[pairs] * weights[..., None]).sum(1))
    summed = scatter_add_rows(values, index, 5)
    torch.testing.assert_close(summed[2], values[0] + values[2])
    assert summed[3:].abs().sum() == 0


class UpsideDownRasteriser:
    """nvdiffrast's conventions, (u,v,z/w,id+1) with row 0 at the bottom, on top of the CPU rasteriser."""

    def RasterizeCudaContext(self, device: torch.device) -> Any:  # noqa: N802
        return SimpleNamespace(device=device)

    def rasterize(self, context: Any, clip: Tensor, faces: Tensor, size: tuple[int, int]) -> tuple[Tensor, None]:
        assert faces.dtype == torch.int32
        own = rasterize(clip, faces, size[0])
        depth = own.depth.masked_fill(own.tri_id < 0, 0.0)[..., None]
        native = torch.cat([own.bary[..., :2], depth, own.tri_id[..., None].float() + 1.0], dim=-1)
        return native.flip(1), None

    def antialias(self, image: Tensor, native: Tensor, clip: Tensor, faces: Tensor) -> Tensor:
        own = rasterize(clip, faces, native.shape[1])
        assert torch.equal(own.tri_id.flip(1).float() + 1.0, native[..., 3])
        return antialias(image.flip(1), own, clip, faces).flip(1)


def test_nvdiffrast_conventions_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = sphere(2, 0.1)
    clip = to_clip(vertices * torch.tensor([1.0, 0.6, 1.0]) + 0.02, [Camera(30.0, 10.0, 0.5, 30.0)])
    expected = rasterize(clip, faces, 64)
    backend = UpsideDownRasteriser()
    monkeypatch.setattr(raster_module, "_nvdiffrast", lambda: backend)
    actual = raster_module._rasterize_nvdiffrast(backend, clip, faces, 64)
    assert (actual.tri_id != expected.tri_id).sum() <= 2  # rounding of the mirrored positions at a face border
    images = [antialias(interpolate(vertices, r, faces), r, clip, faces) for r in (actual, expected)]
    assert (images[0] - images[1]).abs().max() < 1e-3
