# SPDX-License-Identifier: GPL-3.0-or-later
"""What the photographs show and no regressor knows: this person's brows, lines, spots and stubble, freed of light.

The head that the networks guess is laid over each photograph (pose from the five keypoints, then a smooth warp that
makes them meet), the light is fitted on it as a spherical-harmonic irradiance, and what the lit guess does not explain
goes, without its slow part, into the albedo. Eyes, lips and hair are left out: the photograph may smile, the head does
not. (Design: photo projection; the irradiance is Ramamoorthi and Hanrahan 2001.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor
from torch.nn import functional as F

from .head.finish import Atlas, HeadMesh, texel_values
from .head.geometry_net import GeometryNet
from .head.parts import EYES, SKIN
from .photos import align
from .photos.align import HEAD_CROP
from .photos.faces import PORTRAIT_SIZE, Face
from .render.cameras import Camera, view_matrix
from .render.lights import sh_basis
from .render.normals import vertex_normals
from .render.raster import interpolate, rasterize
from .render.shading import linear_to_srgb, srgb_to_linear

# All lengths in units of d, the distance from eyes to mouth.
# Gaussian blurs that tell light and tone from detail: broad at the brows; elsewhere fine detail (spots, stubble) is the
# person's own, while broader marks are mostly folds and shadows of one moment, of which little is taken
SLOW_BROWS, SLOW_SKIN, SLOW_SPOTS = 0.32, 0.11, 0.035
HAIR_FRINGE = 0.06  # what is this near to hair lies in its shadow
REACH = 0.45  # of the warp around each keypoint
FEWEST_PIXELS = 500  # of skin, of a portrait's quarter million, that a photograph must show
STRENGTH = 0.85
# limits of the detail, natural logarithm of albedo
BROWS, SPOTS, FOLDS = (-1.1, 0.5), (-0.3, 0.15), (-0.13, 0.1)
SAME_SURFACE = 0.003  # metres of depth by which a texel may lie behind what its pixel shows
PUPIL_OFFSET = 0.010  # metres from an eyeball's centre to its pupil


@dataclass(frozen=True)
class Pose:
    """A weak-perspective camera: axes (3,3) rows right, up, towards the camera; pixels per metre; shift (2,) pixels."""

    axes: NDArray[np.float64]
    scale: float
    shift: NDArray[np.float64]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points (...,3) metres to pixels (...,2), y down, and depth towards the camera (...,) metres."""
        local = points @ torch.from_numpy(self.axes).to(points).T
        pixels = self.scale * local[..., :2] * torch.tensor([1.0, -1.0]) + torch.from_numpy(self.shift).to(points)
        return pixels, local[..., 2]


def landmarks(net: GeometryNet, surface: Tensor) -> Tensor:
    """(5,3) the points that keypoints stand for, on a posed control surface (P,3): pupils, nose tip, mouth corners."""
    ball = torch.unique(net.faces[net.part == EYES])
    right = net.control[ball, 0] < 0
    eyes = torch.stack([surface[ball[right]].mean(0), surface[ball[~right]].mean(0)])
    eyes[:, 2] += PUPIL_OFFSET
    return torch.cat([eyes, surface[net.landmarks]])


def fit_pose(points: NDArray[np.float64], keypoints: NDArray[np.float64], azimuth: float, elevation: float) -> Pose:
    """Least squares over five points (5,3) metres and keypoints (5,2) pixels; the net's own angles (degrees) are a
    prior, because five points in nearly one plane say little of them."""
    d = align.eye_mouth_distance(keypoints)
    span = float(np.linalg.norm((points[0] + points[1] - points[3] - points[4]) / 2))

    def pose_of(x: NDArray[np.float64]) -> Pose:
        axes = view_matrix(Camera(x[0], x[1], 1.0, 10.0))[:3, :3].numpy()
        c, s = np.cos(np.radians(x[2])), np.sin(np.radians(x[2]))
        turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ axes
        return Pose(turned, float(np.exp(x[3])) * d / span, x[4:6] * d + keypoints.mean(0))

    def residuals(x: NDArray[np.float64]) -> NDArray[np.float64]:
        seen = pose_of(x).project(torch.from_numpy(points))[0].numpy()
        prior = np.array([(x[0] - azimuth) / 12, (x[1] - elevation) / 8, x[2] / 8, x[3] / 0.3]) * 0.05
        out: NDArray[np.float64] = np.concatenate([((seen - keypoints) / d).ravel(), prior])
        return out

    start = np.array([azimuth, elevation, 0.0, 0.0, 0.0, 0.0])
    return pose_of(least_squares(residuals, start, x_scale=[10, 10, 10, 0.1, 0.1, 0.1]).x)


def warp_to(image: Tensor, source: Tensor, target: Tensor, reach: float) -> Tensor:
    """Image (S,S,C) moved smoothly so that what is at source (K,2) pixels comes to target (K,2)."""
    size = image.shape[0]
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    at = torch.stack([xs, ys], -1)
    near = torch.exp(-((at[:, :, None] - target).square().sum(-1)) / (2 * reach**2))
    weight = near / (near.sum(-1, keepdim=True) + 0.1)
    grid = (at + weight @ (source - target) + 0.5) / size * 2 - 1
    moved = F.grid_sample(image.permute(2, 0, 1)[None], grid[None], padding_mode="border", align_corners=False)
    return moved[0].permute(1, 2, 0)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (S,S,C), in pixels."""
    radius = int(3 * sigma) + 1
    x = torch.arange(-radius, radius + 1).float()
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = image.permute(2, 0, 1)[:, None]
    across = F.conv2d(F.pad(channels, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    down = F.conv2d(F.pad(across, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    return down[:, 0].permute(1, 2, 0)


def fit_irradiance(photo: Tensor, albedo: Tensor, normal: Tensor, weight: Tensor) -> Tensor:
    """Coefficients (9,3) such that albedo * sh_basis(normal) @ coefficients comes near the photo; all (N,...) linear,
    weight (N,). Twice, the second time without the pixels that the first fit missed by most: shadows and highlights."""
    basis = sh_basis(normal)
    total = torch.zeros(9, 3)
    for round_ in range(2):
        for c in range(3):
            rows = basis * albedo[:, c : c + 1] * weight[:, None]
            # An irradiance has little of the second order: keep it small where few normals are seen.
            keep = 0.02 * float(weight.sum()) * torch.diag(torch.tensor([0.0, *[0.02] * 3, *[0.08] * 5]))
            total[:, c] = torch.linalg.solve(
                rows.T @ (basis * albedo[:, c : c + 1]) + keep + 1e-6 * torch.eye(9), rows.T @ photo[:, c]
            )
        if round_ == 0:
            missed = ((albedo * (basis @ total)).clamp(min=1e-3) / photo.clamp(min=1e-3)).log().abs().mean(1)
            weight = weight * (missed < torch.quantile(missed[weight > 0], 0.7)).float()
    return total


@dataclass(frozen=True)
class Overlay:
    """The guess as one photograph's camera sees it, (S,S,...): linear albedo, unit normals in the world, which pixels
    are skin that may take detail (0..1), and depth in metres."""

    albedo: Tensor
    normal: Tensor
    skin: Tensor
    depth: Tensor


def overlay(mesh: HeadMesh, atlas: Atlas, maps: Tensor, hair: Tensor, pose: Pose, size: int) -> Overlay:
    """Draw the neutral mesh under a pose. maps (S,S,5) 0..1; hair (V,) 0..1."""
    pixels, depth = pose.project(mesh.neutral)
    ndc = (pixels + 0.5) / size * 2 - 1
    clip = torch.cat([ndc * torch.tensor([1.0, -1.0]), -depth[:, None], torch.ones(len(depth), 1)], 1)[None]
    raster = rasterize(clip, mesh.faces, size)

    def image(values: Tensor, faces: Tensor) -> Tensor:
        return interpolate(values, raster, faces)[0]

    at = image(torch.from_numpy(atlas.uv).float(), torch.from_numpy(atlas.uv_faces).long())
    grid = torch.stack([at[..., 0] * 2 - 1, 1 - 2 * at[..., 1]], -1)[None]
    albedo = F.grid_sample(maps[..., :3].permute(2, 0, 1)[None], grid, align_corners=False)[0].permute(1, 2, 0)
    fields = image(torch.cat([vertex_normals(mesh.neutral, mesh.faces), depth[:, None], hair[:, None]], 1), mesh.faces)
    normal, distance = F.normalize(fields[..., :3], dim=-1), fields[..., 3]
    triangle = raster.tri_id[0]
    skin = ((triangle >= 0) & (mesh.zone[triangle] == SKIN)).float() * (1 - fields[..., 4])
    facing = ((normal @ torch.from_numpy(pose.axes[2]).float() - 0.5) / 0.35).clamp(0, 1)
    # A neighbour that is no skin (an eye, hair, the edge) spoils what is next to it.
    unit = size / HEAD_CROP[0]
    safe = (1 - 2 * blur((1 - skin)[..., None], 0.02 * unit)[..., 0]).clamp(0, 1)
    safe = safe * (1 - 2 * blur(fields[..., 4:], HAIR_FRINGE * unit)[..., 0]).clamp(0, 1)
    return Overlay(srgb_to_linear(albedo), normal, skin * safe * facing, distance)


def face_window(keypoints: Tensor, size: int) -> Tensor:
    """(S,S) 0..1: the face without lips and eyes, up to half a distance d above the eyes, in an upright crop."""
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    eyes, mouth = keypoints[:2].mean(0), keypoints[3:].mean(0)
    d = float((mouth - eyes).norm())
    x, y = (xs - (eyes + mouth)[0] / 2) / d, (ys - eyes[1]) / d

    def step(value: Tensor, width: float) -> Tensor:
        return (value / width + 0.5).clamp(0, 1)

    window = step(y + 0.56, 0.2) * step(1.75 - y, 0.3) * step(1.0 - x.abs(), 0.3)
    half = float((keypoints[4] - keypoints[3]).norm()) / d / 2 + 0.12
    lips = ((xs - mouth[0]) / d / half) ** 2 + ((ys - mouth[1] - 0.05 * d) / d / 0.3) ** 2
    window = window * step(lips - 1.1, 0.5)
    for eye in keypoints[:2]:
        lids = ((xs - eye[0]) / d / 0.3) ** 2 + ((ys - eye[1]) / d / 0.14) ** 2
        window = window * step(lids - 1.1, 0.5)
    return window


def brow_window(keypoints: Tensor, size: int) -> Tensor:
    """(S,S) 0..1: the band that holds the brows, in an upright crop."""
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    eyes, mouth = keypoints[:2].mean(0), keypoints[3:].mean(0)
    d = float((mouth - eyes).norm())
    x, y = (xs - eyes[0]) / d, (ys - eyes[1]) / d
    across = ((0.95 - x.abs()) / 0.2 + 0.5).clamp(0, 1)
    return across * ((0.2 - (y + 0.3).abs()) / 0.15 + 0.5).clamp(0, 1)


def detail_of(face: Face, found: Tensor, wanted: Tensor, seen: Overlay) -> tuple[Tensor, Tensor]:
    """What one photograph adds: (S,S,3) natural logarithm of the albedo, and its weight (S,S).

    found, wanted (5,2): keypoints in the portrait, and where the guess has them.
    """
    size = PORTRAIT_SIZE
    d = float((found[:2].mean(0) - found[3:].mean(0)).norm())
    picture = warp_to(torch.from_numpy(face.portrait).float() / 255, found, wanted, REACH * d)
    photo = srgb_to_linear(picture[..., :3])
    weight = seen.skin * face_window(wanted, size) * (picture[..., 3] > 0.99)
    rows = (weight > 0.05).nonzero(as_tuple=True)
    if len(rows[0]) < FEWEST_PIXELS:
        return torch.zeros(size, size, 3), torch.zeros(size, size)
    light = fit_irradiance(photo[rows], seen.albedo[rows], seen.normal[rows], weight[rows])
    shading = (sh_basis(seen.normal) @ light).clamp(min=0.02)
    missed = (photo.clamp(min=0.004) / (seen.albedo * shading).clamp(min=0.004)).log().clamp(-1.5, 1.0)
    layers = torch.cat([missed * weight[..., None], weight[..., None]], -1)

    def slow(sigma: float) -> Tensor:
        blurred = blur(layers, sigma * d)
        return blurred[..., :3] / blurred[..., 3:].clamp(min=1e-4)

    share, broad, spots = brow_window(wanted, size)[..., None], slow(SLOW_SKIN), slow(SLOW_SPOTS)
    brows = (missed - slow(SLOW_BROWS)).clamp(*BROWS)
    skin = (missed - spots).clamp(*SPOTS) + (spots - broad).clamp(*FOLDS)
    detail = share * brows + (1 - share) * skin
    grey = detail.mean(-1, keepdim=True)
    return grey + 0.6 * (detail - grey), weight  # colours are surer of the guess than of a camera


@torch.no_grad()
def add_photo_detail(
    net: GeometryNet,
    mesh: HeadMesh,
    atlas: Atlas,
    maps: Tensor,
    surface: Tensor,
    hair: Tensor,
    faces: Sequence[Face],
) -> Tensor:
    """Maps (S,S,5) 0..1, padded, whose albedo carries the photographs' detail.

    surface (P,3): this person's neutral control surface; hair (V,): share of hair at the mesh's vertices.
    """
    points, texels = texel_values(atlas, mesh.neutral, mesh.faces)
    total, weights, strongest = torch.zeros(len(points), 3), torch.full((len(points), 1), 1e-6), torch.zeros(1)
    marks = landmarks(net, surface)
    for face in faces:
        keypoints = align.apply(align.crop_transform(face.keypoints, PORTRAIT_SIZE, "head"), face.keypoints)
        pose = fit_pose(marks.double().numpy(), keypoints, face.yaw, face.pitch)
        seen = overlay(mesh, atlas, maps, hair, pose, PORTRAIT_SIZE)
        detail, weight = detail_of(face, torch.from_numpy(keypoints).float(), pose.project(marks)[0].float(), seen)
        pixels, depth = pose.project(points)
        layers = torch.cat([detail, weight[..., None], seen.depth[..., None]], -1).permute(2, 0, 1)[None]
        grid = ((pixels + 0.5) / PORTRAIT_SIZE * 2 - 1)[None, None]
        at = F.grid_sample(layers, grid, align_corners=False)[0, :, 0].T
        w = at[:, 3:4] * (depth > at[:, 4] - SAME_SURFACE)[:, None]
        total, weights, strongest = total + at[:, :3] * w**2, weights + w**2, torch.maximum(strongest, w)
    on_skin = (mesh.zone[torch.from_numpy(atlas.tri.reshape(-1))[texels]] == SKIN)[:, None]
    change = STRENGTH * on_skin * strongest * total / weights
    out = maps.reshape(-1, maps.shape[-1]).clone()
    out[texels, :3] = linear_to_srgb((srgb_to_linear(out[texels, :3]) * change.exp()).clamp(0.002, 0.95))
    return torch.from_numpy(atlas.pad(out.view_as(maps).numpy()))
