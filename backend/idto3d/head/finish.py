# SPDX-License-Identifier: GPL-3.0-or-later
"""From the sculpted grid to the mesh that ships: decimated, unwrapped, with one offset field an expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fast_simplification
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .attach import Attachment, Surface
from .checks import flipped_faces, keep_largest_component, mesh_topology, self_intersections
from .geometry_net import GeometryNet, follow
from .uv import pad_seams, rasterize_uv, unwrap

Array = NDArray[Any]


@dataclass(frozen=True)
class HeadMesh:
    """One mesh for all expressions, head frame, metres. canonical and neutral (V,3), offsets (E,V,3), faces (F,3)."""

    canonical: Tensor
    neutral: Tensor
    offsets: Tensor
    faces: Tensor
    attachment: Attachment


def finish_mesh(
    net: GeometryNet,
    control: Surface,
    canonical: Tensor,
    faces: Tensor,
    motion: Tensor,
    warps: Tensor,
    target_faces: int,
) -> HeadMesh:
    """Decimate the canonical surface (quadric error: detail stays at lids and lips) and carry the fields to it.

    motion (P,3) and warps (E,P,3) live on the control surface.
    """
    v, f, _ = keep_largest_component(canonical.detach(), faces)
    if len(f) > target_faces:
        points, triangles = fast_simplification.simplify(
            v.numpy().astype(np.float32),
            f.numpy().astype(np.int32),
            target_reduction=1 - target_faces / len(f),
            agg=4.0,
        )
        kept = without_fins(triangles.astype(np.int64))
        v, f, _ = keep_largest_component(torch.from_numpy(points.astype(np.float32)), torch.from_numpy(kept))
    attachment = control.attach(v.numpy())
    neutral = v + follow(net, attachment, motion, fade=False)
    offsets = follow(net, attachment, warps, fade=True)
    return HeadMesh(v, neutral, offsets, f, attachment)


def without_fins(faces: Array) -> Array:
    """Faces (F,3) less those that edge collapses left with a repeated corner, and less pairs (back to back or doubled)
    on the same three vertices, which enclose nothing and which Blender refuses."""
    f = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    _, inverse, counts = np.unique(np.sort(f, axis=1), axis=0, return_inverse=True, return_counts=True)
    out: Array = f[counts[inverse.reshape(-1)] == 1]
    return out


def mesh_report(mesh: HeadMesh, names: list[str]) -> dict[str, Any]:
    """Soundness of the finished mesh: topology, and flipped and self-intersecting faces in every expression.

    Lids that slide over the eye and lips that close fold the strip between them; such faces count but do not show.
    """
    t = mesh_topology(mesh.faces)
    report: dict[str, Any] = {
        "vertices": len(mesh.neutral),
        "faces": len(mesh.faces),
        "watertight": t.watertight,
        "components": t.components,
        "self_intersecting_pairs": {},
        "flipped_faces": {},
    }
    for name, offset in zip(names, mesh.offsets, strict=True):
        posed = mesh.neutral + offset
        report["self_intersecting_pairs"][name] = len(self_intersections(posed, mesh.faces))
        report["flipped_faces"][name] = int(flipped_faces(posed, mesh.neutral, mesh.faces).sum())
    report["self_intersecting_pairs"]["neutral"] = len(self_intersections(mesh.neutral, mesh.faces))
    return report


@dataclass(frozen=True)
class Atlas:
    """uv (T,2), uv_faces (F,3); tri (S,S) face under each texel (-1 none) and its barycentrics (S,S,3)."""

    uv: Array
    uv_faces: Array
    tri: Array
    bary: Array

    def pad(self, image: Array) -> Array:
        """Colours carried past the seams and over all that is empty, so that mip maps do not bleed."""
        padded: Array = pad_seams(image, self.tri >= 0, self.tri.shape[0])
        return padded


def make_atlas(mesh: HeadMesh, size: int) -> Atlas:
    """Unwrap the neutral head once; all expressions share it."""
    unwrapped = unwrap(mesh.neutral.numpy(), mesh.faces.numpy(), resolution=size)
    tri, bary = rasterize_uv(unwrapped.uv, unwrapped.faces_uv, size)
    return Atlas(unwrapped.uv, unwrapped.faces_uv, tri, bary)


def texel_values(atlas: Atlas, vertex_values: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Values (N,C) of the covered texels from vertex values (V,C), and their flat indices (N,)."""
    index = torch.from_numpy(np.nonzero(atlas.tri.reshape(-1) >= 0)[0])
    tri = torch.from_numpy(atlas.tri.reshape(-1))[index]
    bary = torch.from_numpy(atlas.bary.reshape(-1, 3))[index]
    return (vertex_values[faces[tri]] * bary[..., None]).sum(1), index
