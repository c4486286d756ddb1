# SPDX-License-Identifier: GPL-3.0-or-later
"""Differentiable rasterisation: coverage from a z-buffer, gradients from PyTorch.

The three operations are those of Laine et al. 2020, "Modular Primitives for High-Performance Differentiable
Rendering" (nvdiffrast). With CUDA tensors and nvdiffrast installed by the user, coverage and antialiasing run there;
otherwise the z-buffer and the outline search run on the CPU, and everything else on the tensors' own device.
"""

import functools
import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idto3d.render.gather import gather_rows, scatter_add_rows
from idto3d.render.zbuffer import edge_neighbours, outline_pairs, to_screen, zbuffer


@dataclass(frozen=True, eq=False)
class Raster:
    """What each pixel sees; row 0 is the top.

    tri_id: (B,H,W) long, -1 where empty. depth: (B,H,W) NDC z without gradient, infinite where empty.
    pixels: (K,) flat indices into B*H*W of the covered pixels. weights: (K,3) perspective-correct barycentric
    coordinates there, differentiable in the clip positions. native: nvdiffrast's own output where that made the raster;
    drawn: tri_id and depth on the host, where they were drawn there.
    """

    tri_id: Tensor
    depth: Tensor
    pixels: Tensor
    weights: Tensor
    native: Tensor | None = None
    drawn: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None = None

    @property
    def bary(self) -> Tensor:
        """Barycentric coordinates as an image, (B,H,W,3), zero where empty."""
        return self.spread(self.weights)

    @property
    def mask(self) -> Tensor:
        """Hard coverage (B,H,W,1), 0 or 1; ``antialias`` gives it soft edges and gradients."""
        return (self.tri_id >= 0).to(self.weights.dtype)[..., None]

    def spread(self, rows: Tensor) -> Tensor:
        """Values (K,C) of the covered pixels as an image (B,H,W,C), zero elsewhere."""
        image = rows.new_zeros(self.tri_id.numel(), rows.shape[1]).index_copy(0, self.pixels, rows)
        return image.view(*self.tri_id.shape, rows.shape[1])


def rasterize(clip: Tensor, faces: Tensor, size: int) -> Raster:
    """Rasterise one mesh in B views of size x size pixels.

    clip (B,V,4) OpenGL clip coordinates; faces (F,3) integer. Faces are seen from both sides; one that reaches in
    front of the near plane is dropped whole. Raises ValueError on other shapes.
    """
    if clip.ndim != 3 or clip.shape[2] != 4 or faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"expected clip (B,V,4) and faces (F,3), got {tuple(clip.shape)} and {tuple(faces.shape)}")
    nvdiffrast = _nvdiffrast() if clip.is_cuda else None
    if nvdiffrast is not None:
        return _rasterize_nvdiffrast(nvdiffrast, clip, faces, size)

    corners = faces.detach().cpu().long().contiguous().numpy()
    positions = clip.detach().cpu().numpy()
    views = clip.shape[0]
    triangle = np.empty((views, size, size), np.int64)
    depth = np.empty((views, size, size), np.float32)
    thin = np.zeros((views, size, size), np.bool_)

    def draw(b: int) -> None:
        zbuffer(to_screen(positions[b], size), corners, triangle[b], depth[b], thin[b])

    _for_each_view(draw, views)
    tri_id = torch.from_numpy(triangle).to(clip.device)
    pixels = (tri_id.view(-1) >= 0).nonzero()[:, 0]
    weights = _barycentrics(clip, faces.long(), tri_id, pixels, torch.from_numpy(thin).to(clip.device).view(-1)[pixels])
    return Raster(tri_id, torch.from_numpy(depth).to(clip.device), pixels, weights, drawn=(triangle, depth))


def interpolate(attr: Tensor, raster: Raster, faces: Tensor) -> Tensor:
    """Vertex attributes as images (B,H,W,C), zero where empty; differentiable in attr and in the clip positions.

    attr (V,C) shared by all views or (B,V,C); faces (F,3) those given to ``rasterize``.
    """
    corners = faces.long().index_select(0, raster.tri_id.view(-1)[raster.pixels])
    if attr.ndim == 3:
        corners = corners + _view_of(raster, raster.pixels)[:, None] * attr.shape[1]
    channels = attr.shape[-1]
    values = gather_rows(attr.reshape(-1, channels), corners.view(-1)).view(-1, 3, channels)
    return raster.spread((raster.weights.to(attr.dtype)[..., None] * values).sum(1))


def antialias(image: Tensor, raster: Raster, clip: Tensor, faces: Tensor) -> Tensor:
    """Blend neighbouring pixels where the outline of a surface passes between their centres.

    image (B,H,W,C) made from raster. The blend weight is the distance from the outline to the border between the two
    pixels (Laine et al. 2020, section 3.4), so the result has gradients for the outline's position; the gradient of the
    covered area is the exact one but for surfaces thinner than a pixel. Unlike the paper the outline is followed across
    faces smaller than a pixel.
    """
    nvdiffrast = _nvdiffrast()
    if raster.native is not None and nvdiffrast is not None:
        return nvdiffrast.antialias(image.contiguous(), raster.native, _flip(clip), faces.int().contiguous())
    pairs = torch.from_numpy(_outlines(raster, clip, faces)).to(clip.device)
    near, far, edge = pairs[:, 0], pairs[:, 1], pairs[:, 2:]
    size = raster.tri_id.shape[-1]
    # (N,2,2): edge end, then x or y, in pixels.
    ends = gather_rows(clip.reshape(-1, 4), edge.reshape(-1)).view(-1, 2, 4)
    flip = torch.tensor([1.0, -1.0], dtype=clip.dtype, device=clip.device)
    ends = (ends[..., :2] / ends[..., 3:] * flip + 1.0) * (0.5 * size) - 0.5
    vertical = ((far - near).abs() == size)[:, None]
    swapped = torch.where(vertical[..., None], ends.flip(-1), ends)
    along, across = swapped[..., 0], swapped[..., 1]
    column, row = near % size, near // size % size
    here = torch.where(vertical[:, 0], row, column).to(clip.dtype)
    line = torch.where(vertical[:, 0], column, row).to(clip.dtype)
    cut = along[:, 0] + (line - across[:, 0]) * (along[:, 1] - along[:, 0]) / (across[:, 1] - across[:, 0])
    # Positive: the nearer surface reaches into the other pixel; negative: it leaves part of its own uncovered.
    reach = ((cut - here) * (far - near).sign() - 0.5).to(image.dtype)
    flat = image.reshape(-1, image.shape[-1])
    both = gather_rows(flat, torch.cat([near, far]))
    step = reach[:, None] * (both[: near.numel()] - both[near.numel() :])
    changed = torch.where(reach > 0, far, near)
    return (flat + scatter_add_rows(step, changed, flat.shape[0])).view(image.shape)


def _view_of(raster: Raster, flat: Tensor) -> Tensor:
    return flat // (raster.tri_id.shape[1] * raster.tri_id.shape[2])


def _barycentrics(clip: Tensor, faces: Tensor, tri_id: Tensor, pixels: Tensor, thin: Tensor) -> Tensor:
    """Perspective-correct barycentric coordinates (K,3) of the pixel centres.

    Moved so that the pixel is the origin, the homogeneous corners (x,y,w) give weights p1 x p2, p2 x p0, p0 x p1 over
    their sum; moving first keeps float32 accurate for faces smaller than a pixel. On thin faces (K,) the weights are
    clamped to the face and have no gradient.
    """
    views, size = tri_id.shape[0], tri_id.shape[1]
    corners = faces.index_select(0, tri_id.view(-1)[pixels])
    if views > 1:
        corners = corners + (pixels // (size * size))[:, None] * clip.shape[1]
    p = gather_rows(clip.reshape(-1, 4), corners.view(-1)).view(-1, 3, 4)
    x = (2.0 * (pixels % size) + 1.0).to(clip.dtype) / size - 1.0
    y = 1.0 - (2.0 * (pixels // size % size) + 1.0).to(clip.dtype) / size
    dx = p[..., 0] - x[:, None] * p[..., 3]
    dy = p[..., 1] - y[:, None] * p[..., 3]
    areas = dx.roll(-1, 1) * dy.roll(-2, 1) - dy.roll(-1, 1) * dx.roll(-2, 1)
    total = areas.sum(1, keepdim=True)
    if not thin.any():
        return areas / total
    held = (areas * total.sign()).detach().clamp_min(0.0) + torch.finfo(areas.dtype).tiny
    thin = thin[:, None]
    return torch.where(thin, held / held.sum(1, keepdim=True), areas / torch.where(thin, 1.0, total))


def _outlines(raster: Raster, clip: Tensor, faces: Tensor) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows (near pixel, far pixel, vertex, vertex), flat over the batch; see ``outline_pairs``."""
    views, size = raster.tri_id.shape[0], raster.tri_id.shape[1]
    triangle, depth = raster.drawn or (raster.tri_id.cpu().numpy(), raster.depth.cpu().numpy())
    corners = faces.detach().cpu().long().contiguous().numpy()
    positions = clip.detach().cpu().numpy()
    neighbour = _neighbours(corners.tobytes(), clip.shape[1])
    found = [np.empty((0, 4), np.int64)] * views

    def search(b: int) -> None:
        out = np.empty((2 * size * size, 4), np.int64)
        count = outline_pairs(triangle[b], depth[b], to_screen(positions[b], size), corners, neighbour, out)
        found[b] = out[:count] + b * np.array([size * size, size * size, clip.shape[1], clip.shape[1]])

    _for_each_view(search, views)
    return np.concatenate(found)


@functools.lru_cache(maxsize=2)
def _neighbours(corners: bytes, vertices: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """`edge_neighbours` of faces (F,3) int64: most pictures show the same faces as the last one."""
    return edge_neighbours(np.frombuffer(corners, np.int64).reshape(-1, 3), vertices)


def _for_each_view(work: Callable[[int], None], views: int) -> None:
    threads = min(views, torch.get_num_threads())
    if threads == 1:
        for b in range(views):
            work(b)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(views)))


@functools.cache
def _nvdiffrast() -> Any | None:
    try:
        return importlib.import_module("nvdiffrast.torch")
    except ImportError:
        return None


@functools.cache
def _context(nvdiffrast: Any, device: torch.device) -> Any:
    return nvdiffrast.RasterizeCudaContext(device)


def _flip(clip: Tensor) -> Tensor:
    """nvdiffrast's row 0 is the bottom of the image; upside down in, right way up out."""
    return clip * torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=clip.dtype, device=clip.device)


def _rasterize_nvdiffrast(nvdiffrast: Any, clip: Tensor, faces: Tensor, size: int) -> Raster:
    native, _ = nvdiffrast.rasterize(
        _context(nvdiffrast, clip.device), _flip(clip), faces.int().contiguous(), (size, size)
    )
    tri_id = native[..., 3].detach().long() - 1
    depth = native[..., 2].detach().masked_fill(tri_id < 0, float("inf"))
    pixels = (tri_id.view(-1) >= 0).nonzero()[:, 0]
    uv = native.view(-1, 4)[pixels, :2]
    weights = torch.cat([uv, 1.0 - uv.sum(1, keepdim=True)], dim=1)
    return Raster(tri_id, depth, pixels, weights, native)
