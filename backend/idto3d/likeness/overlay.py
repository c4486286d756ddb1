# SPDX-License-Identifier: GPL-3.0-or-later
"""The head laid over its photographs: each picture in register with what the camera and the expression that were fitted
to it show of the guess, and the light that it was taken under, as a spherical-harmonic irradiance (Ramamoorthi and
Hanrahan 2001)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..head.finish import Atlas, HeadMesh, texel_values
from ..head.geometry_net import GeometryNet, follow
from ..head.parts import EYES, SKIN
from ..head.progress import Progress, ignored
from ..head.texture_net import eye_centres, gaze_angle
from ..photos.align import HEAD_CROP, eye_mouth_distance
from ..photos.faces import PORTRAIT_SIZE, Face
from ..photos.landmarks import Landmarks
from ..render.lights import sh_basis
from ..render.normals import vertex_normals
from ..render.raster import interpolate, rasterize
from ..render.shading import srgb_to_linear
from .fit import FaceModel, Fitted
from .pose import Pose

# Lengths in units of d, the distance from eyes to mouth.
REACH, WARP_CELL = 0.2, 8  # of the warp around each landmark, and pixels between which it is interpolated
HAIR_FRINGE = 0.06  # what is this near to hair lies in its shadow
SAME_SURFACE = 0.003  # metres of depth by which a texel may lie behind what its pixel shows
PUPIL_OFFSET = 0.010  # metres from an eyeball's centre to its pupil


@dataclass(frozen=True)
class Sitting:
    """The photographs of one person, and how the head was fitted to them."""

    faces: Sequence[Face]
    landmarks: Sequence[Landmarks]
    model: FaceModel
    fit: Fitted

    @property
    def masculine(self) -> float:
        """0 female to 1 male: what the fitted shape says, in which all the photographs' evidence has gone."""
        return min(1.0, max(0.0, self.model.sex_of(self.fit.coefficients)))


def keypoints_of(net: GeometryNet, surface: Tensor) -> Tensor:
    """(5,3) the points that keypoints stand for, on a posed control surface (P,3): pupils, nose tip, mouth corners."""
    ball = torch.unique(net.faces[net.part == EYES])
    right = net.control[ball, 0] < 0
    eyes = torch.stack([surface[ball[right]].mean(0), surface[ball[~right]].mean(0)])
    eyes[:, 2] += PUPIL_OFFSET
    return torch.cat([eyes, surface[net.landmarks]])


def warp_to(image: Tensor, source: Tensor, target: Tensor, weight: Tensor, reach: float) -> Tensor:
    """Image (S,S,C) moved smoothly so that what is at source (K,2) pixels comes near target (K,2), the nearer the more
    a point weighs, weight (K,)."""
    size = image.shape[0]
    cells = size // WARP_CELL
    middle = (torch.arange(cells) + 0.5) * WARP_CELL - 0.5
    ys, xs = torch.meshgrid(middle, middle, indexing="ij")
    near = weight * torch.exp(-((torch.stack([xs, ys], -1)[:, :, None] - target).square().sum(-1)) / (2 * reach**2))
    share = near / (near.sum(-1, keepdim=True) + 0.1 * float(weight.mean()))
    shift = (share @ (source - target)).permute(2, 0, 1)[None]
    shift = F.interpolate(shift, size=(size, size), mode="bilinear")[0].permute(1, 2, 0)
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    grid = (torch.stack([xs, ys], -1) + shift + 0.5) / size * 2 - 1
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
    are skin that may take detail (0..1), share of hair, radians off the gaze (far where there is no eyeball), depth in
    metres, and the metres that the expression has moved a pixel."""

    albedo: Tensor
    normal: Tensor
    skin: Tensor
    hair: Tensor
    gaze: Tensor
    depth: Tensor
    moved: Tensor


def overlay(
    mesh: HeadMesh, posed: Tensor, atlas: Atlas, maps: Tensor, hair: Tensor, gaze: Tensor, pose: Pose, size: int
) -> Overlay:
    """Draw the mesh with vertices `posed` (V,3) as a photograph's camera sees it. maps (S,S,5) 0..1; hair (V,) 0..1;
    gaze (V,) radians."""
    pixels, depth = pose.project(posed)
    ndc = (pixels + 0.5) / size * 2 - 1
    clip = torch.cat([ndc * torch.tensor([1.0, -1.0]), -depth[:, None], torch.ones(len(depth), 1)], 1)[None]
    raster = rasterize(clip, mesh.faces, size)

    def image(values: Tensor, faces: Tensor) -> Tensor:
        return interpolate(values, raster, faces)[0]

    at = image(torch.from_numpy(atlas.uv).float(), torch.from_numpy(atlas.uv_faces).long())
    grid = torch.stack([at[..., 0] * 2 - 1, 1 - 2 * at[..., 1]], -1)[None]
    albedo = F.grid_sample(maps[..., :3].permute(2, 0, 1)[None], grid, align_corners=False)[0].permute(1, 2, 0)
    moved = (posed - mesh.neutral).norm(dim=1)
    scalars = torch.stack([depth, hair, moved, gaze], 1)
    fields = image(torch.cat([vertex_normals(posed, mesh.faces), scalars], 1), mesh.faces)
    normal, distance = F.normalize(fields[..., :3], dim=-1), fields[..., 3]
    triangle = raster.tri_id[0]
    skin = ((triangle >= 0) & (mesh.zone[triangle] == SKIN)).float() * (1 - fields[..., 4])
    facing = ((normal @ torch.from_numpy(pose.axes[2]).float() - 0.5) / 0.35).clamp(0, 1)
    # A neighbour that is no skin (an eye, hair, the edge) spoils what is next to it.
    unit = size / HEAD_CROP[0]
    safe = (1 - 2 * blur((1 - skin)[..., None], 0.02 * unit)[..., 0]).clamp(0, 1)
    safe = safe * (1 - 2 * blur(fields[..., 4:5], HAIR_FRINGE * unit)[..., 0]).clamp(0, 1)
    of_eye = (triangle >= 0) & (mesh.zone[triangle] == EYES)
    off_gaze = torch.where(of_eye, fields[..., 6], torch.pi)
    skin = skin * safe * facing
    return Overlay(srgb_to_linear(albedo), normal, skin, fields[..., 4], off_gaze, distance, fields[..., 5])


@dataclass(frozen=True)
class Texels:
    """Where the covered texels of the atlas fall in a photograph, pixels (N,2), and 1 where they are seen (N,)."""

    pixels: Tensor
    visible: Tensor

    def read(self, image: Tensor) -> Tensor:
        """(N,C) of an image (S,S,C)."""
        return _sample(image, self.pixels)


def _sample(image: Tensor, pixels: Tensor) -> Tensor:
    grid = ((pixels + 0.5) / image.shape[0] * 2 - 1)[None, None]
    return F.grid_sample(image.permute(2, 0, 1)[None], grid, align_corners=False)[0, :, 0].T


@dataclass(frozen=True)
class View:
    """One photograph over the head: picture (S,S,4) 0..1 in register with `seen`; keypoints (5,2) pixels: where it has
    them; unit: pixels from eyes to mouth in the file itself; texels, and their mirror images on the other half of the
    face, which a photograph in half profile shows instead."""

    picture: Tensor
    keypoints: Tensor
    unit: float
    seen: Overlay
    texels: Texels
    mirrored: Texels


@torch.no_grad()
def lay_over(
    net: GeometryNet,
    mesh: HeadMesh,
    atlas: Atlas,
    maps: Tensor,
    surface: Tensor,
    hair: Tensor,
    sitting: Sitting,
    progress: Progress = ignored,
) -> list[View]:
    """Every photograph over the head.

    maps (S,S,5) 0..1; surface (P,3): this person's neutral control surface; hair (V,): share of hair at the vertices.
    """
    size, unit = PORTRAIT_SIZE, PORTRAIT_SIZE / HEAD_CROP[0]
    gaze = gaze_angle(mesh.canonical, eye_centres(net))
    views = []
    shown = zip(sitting.faces, sitting.landmarks, sitting.fit.poses, sitting.fit.expressions, strict=True)
    for n, (face, found, pose, expression) in enumerate(shown):
        progress(n / len(sitting.faces))
        posed = mesh.neutral + follow(net, mesh.attachment, expression, fade=True)
        seen = overlay(mesh, posed, atlas, maps, hair, gaze, pose, size)
        marks = pose.project((surface + expression)[sitting.model.vertices])[0].float()
        sure = torch.from_numpy((unit / found.sigma) ** 2).float()
        picture = torch.from_numpy(face.portrait).float() / 255
        picture = warp_to(picture, torch.from_numpy(found.points).float(), marks, sure, REACH * unit)
        keypoints = pose.project(keypoints_of(net, surface + expression))[0].float()
        points, _ = texel_values(atlas, posed, mesh.faces)
        texels, mirrored = (_texels(p, pose, seen) for p in (points, points * torch.tensor([-1.0, 1.0, 1.0])))
        views.append(View(picture, keypoints, eye_mouth_distance(face.keypoints), seen, texels, mirrored))
    return views


def _texels(points: Tensor, pose: Pose, seen: Overlay) -> Texels:
    pixels, depth = pose.project(points)
    front = _sample(seen.depth[..., None], pixels)[:, 0]
    return Texels(pixels, ((depth - front).abs() < SAME_SURFACE).float())
