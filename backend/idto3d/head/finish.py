# SPDX-License-Identifier: GPL-3.0-or-later
"""From the sculpted grid to the mesh that ships: fitted, decimated, unwrapped, with one offset field an expression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from ..mesh.attach import Attachment, Surface
from .checks import connected_pieces, flipped_faces, keep_largest_component, mesh_topology, self_intersections
from .decimate import decimate
from .eyes import cut, find_eye, part_lids
from .fit import FINEST, fit_to_skin, normals_of, place_on, refine, skin_surface
from .flatten import without_pinches
from .geometry_net import GeometryNet, follow
from .hair import carve_locks
from .lids import closed_lids, lids_of
from .parts import EYES, SKIN, boundary_loops, eyeballs, inner_pieces, inside_mouth, with_lids
from .progress import Progress, between, ignored
from .untangle import untangled
from .uv import pad_seams, rasterize_uv, unwrap

Array = NDArray[Any]


COARSE = 0.006  # metres: skin triangles this large need no detail
FINE = 12.0  # most that a collapse costs more where they are small
HIDDEN = 0.02  # and less in the eye's socket
NECK = 0.005  # metres above the lowest point: there the neck is cut, because the grid frays its edge
UNTANGLING = 0.0025  # metres that a vertex may move to take the surface out of itself
HAIR, MOUTH = 4, 5
DENSITY = np.array([1.2, 1.5, 1.2, 0.8, 0.8, 0.5])  # texels along a metre, by zone, relative


@dataclass(frozen=True)
class HeadMesh:
    """One mesh for all expressions, head frame, metres. canonical and neutral (V,3), offsets (E,V,3), faces (F,3);
    zone (F,): SKIN, EYES, TEETH, TONGUE as in the control surface's parts, and of the skin HAIR and MOUTH (its inside).

    Closed pieces: the head first, then eyeballs, gums and teeth, tongue. eyes: of each, the vertices of the lids' rim
    (R,) and of the front of the ball (B,), and how many vertices of the head come before all others.
    """

    canonical: Tensor
    neutral: Tensor
    offsets: Tensor
    faces: Tensor
    attachment: Attachment
    zone: Tensor
    eyes: tuple[tuple[Array, Array], ...]
    shell: int


def finish_mesh(
    net: GeometryNet,
    control: Surface,
    canonical: Tensor,
    faces: Tensor,
    motion: Tensor,
    warps: Tensor,
    style: Tensor,
    target_faces: int,
    progress: Progress = ignored,
) -> HeadMesh:
    """Lay the canonical surface on the skin, part lids from eyes, decimate (detail stays at lids, lips and ears), add
    eyeballs, teeth and tongue, and carry the fields to it.

    motion (P,3) and warps (E,P,3) live on the control surface; style (S,): shares of hair styles. What `progress`
    raises ends it.
    """
    largest, triangles, _ = keep_largest_component(canonical.detach(), faces)
    base, base_faces, part = control.vertices, net.faces.numpy(), net.part.numpy()
    skin_faces = np.nonzero(part == SKIN)[0]
    skin = skin_surface(base, base_faces[skin_faces])
    v, f = _refined(largest.numpy().astype(np.float64), triangles.numpy(), skin, between(progress, 0.0, 0.1))
    progress(0.1)
    v, f, end = _cut_neck(v, f)
    side = np.ones(len(v))
    balls = []
    for ball in eyeballs(base, base_faces, part):
        progress(0.1)
        eye = find_eye(base, skin.faces, ball)
        progress(0.1)
        parted = None if eye is None else part_lids(v, f, eye)
        if parted is not None:
            v, f, new = parted
            side = np.minimum(np.concatenate([side, np.zeros(len(v) - len(side))]), new)
            balls.append(ball)
    end = np.concatenate([end, np.zeros(len(v) - len(end), bool)])
    # The grid keeps the mouth's inside off the cheeks; on the skin's own, which may touch them, it would come through.
    bag = inside_mouth(net.uv.numpy()[net.uv_faces.numpy()[skin_faces]])
    v = fit_to_skin(v, f, skin, (side <= 0) | end, bag, between(progress, 0.15, 0.5))
    inner = inner_pieces(base, base_faces, part, balls, target_faces, between(progress, 0.5, 0.6))
    _, share, size, _ = place_on(skin, v, normals_of(v, f), between(progress, 0.6, 0.7))
    fine = np.clip((COARSE / size) ** 2, 1.0, FINE)
    weight = np.where(side < 0, HIDDEN, 1 + share * (fine - 1))
    hair = net.hair_share(style, torch.from_numpy(v).float()).numpy() * (1 - share)
    v = carve_locks(v, f, np.where((side <= 0) | end, 0.0, hair))
    rims = v[side == 0].astype(np.float32)
    shell_faces = target_faces - sum(len(p.faces) for p in inner)
    v, f = decimate(v, f, shell_faces, weight, held=side == 0, progress=between(progress, 0.7, 0.8))
    v = untangled(v, f, _on(rims, v), UNTANGLING, between(progress, 0.8, 0.9)).astype(np.float32)
    at = skin.attach(v, _facing(v, f, rims), progress=between(progress, 0.9, 0.92))
    of_skin = at.face.numpy()
    attached = [(skin_faces[of_skin], at.bary, at.gap)]
    for n, piece in enumerate(inner):
        progress(0.92 + 0.06 * n / len(inner))
        source = np.nonzero(part == piece.part)[0]
        at = Surface(base, base_faces[source]).attach(piece.vertices)
        attached.append((source[at.face.numpy()], at.bary, at.gap))
    attachment = Attachment(
        torch.from_numpy(np.concatenate([a[0] for a in attached])),
        torch.cat([a[1] for a in attached]),
        torch.cat([a[2] for a in attached]),
    )
    counts = np.cumsum([0, len(v), *(len(p.vertices) for p in inner)])
    points = torch.from_numpy(np.concatenate([v, *(p.vertices for p in inner)]))
    all_faces = np.concatenate([f, *(p.faces + n for p, n in zip(inner, counts[1:], strict=False))])
    progress(0.98)
    share = place_on(skin, v, normals_of(v, f, rounds=0))[1]
    hair = share[f].mean(1) < 0.5
    inside = bag[of_skin][f].sum(1) > 1
    shell = np.where(hair, HAIR, np.where(inside, MOUTH, SKIN))
    zone = np.concatenate([shell, *(np.full(len(p.faces), p.part) for p in inner)])
    rim, canonical_points = np.nonzero(_on(rims, v))[0], points.numpy()
    eyes = []
    for n, piece in enumerate(inner):
        if piece.part == EYES:
            own = rim[(v[rim, 0] > 0) == (piece.vertices[:, 0].mean() > 0)]
            ball = np.arange(counts[n + 1], counts[n + 2])
            z = canonical_points[ball, 2]
            eyes.append((own, ball[z > z.mean()]))
    whole, zones = torch.from_numpy(all_faces), torch.from_numpy(zone)
    mesh = HeadMesh(points, points, points[None][:0], whole, attachment, zones, tuple(eyes), len(v))
    neutral, offsets = carry_fields(net, mesh, motion, warps, between(progress, 0.98, 1.0))
    return replace(mesh, neutral=neutral, offsets=offsets)


def carry_fields(
    net: GeometryNet, mesh: HeadMesh, motion: Tensor, warps: Tensor, progress: Progress = ignored
) -> tuple[Tensor, Tensor]:
    """Neutral (V,3) and offsets (E,V,3) that control fields, motion (P,3) and warps (E,P,3), give on a finished mesh,
    with lids that meet where they are closed."""
    neutral = mesh.canonical + follow(net, mesh.attachment, motion, fade=False)
    offsets = follow(net, mesh.attachment, warps, fade=True)
    shell = mesh.faces[(mesh.faces < mesh.shell).all(1)].numpy()
    rest = neutral[: mesh.shell].double().numpy()
    for n, (rim, ball) in enumerate(mesh.eyes):
        lids = lids_of(rest, shell, rim, neutral[ball].numpy())
        for k, offset in enumerate(offsets):
            progress((n + k / len(offsets)) / len(mesh.eyes))
            closed_by = closed_lids(rest, offset[: mesh.shell].double().numpy(), shell, lids)
            offset[: mesh.shell] = torch.from_numpy(closed_by).float()
    return neutral, offsets


def _cut_neck(vertices: Array, faces: Array) -> tuple[Array, Array, Array]:
    """The head closed by a plane above the grid's own: vertices (V',3), faces (F',3), mask (V',) of that plane."""
    height = vertices[:, 1] - (vertices[:, 1].min() + NECK)
    height[np.abs(height) < 2e-4] = 0.0
    vertices = np.where((height == 0)[:, None] & [False, True, False], vertices[:, 1].min() + NECK, vertices)
    vertices, faces, height = cut(vertices, faces, height)
    origin, closed_points, closed_faces = closed(vertices, faces[height[faces].max(1) > 0])
    end = np.concatenate([height[origin] == 0, np.ones(len(closed_points) - len(origin), bool)])
    return closed_points, closed_faces, end


def closed(vertices: Array, faces: Array) -> tuple[Array, Array, Array]:
    """A surface with its holes closed: the old vertex (n,) of the first n new ones, vertices (V',3), faces (F',3).

    Holes that touch in a point, as where long hair and neck meet in the cut, are parted there first.
    """
    origin, parted = without_pinches(faces)
    points, filled = with_lids(vertices[origin], parted, boundary_loops(parted))
    return origin, points, filled


def _facing(vertices: Array, faces: Array, rims: Array) -> Array:
    """Unit normals (V,3), on the lids' rims (R,3) straight ahead: there the surface turns over, and only what can be
    seen of a lid moves like it."""
    normals = normals_of(vertices, faces, rounds=0)
    normals[_on(rims, vertices)] = 0.0, 0.0, 1.0
    return normals


def _on(rims: Array, vertices: Array) -> Array:
    """(V,) which vertices (V,3) are among rims (R,3)."""
    if not len(rims):
        return np.zeros(len(vertices), bool)
    out: Array = cKDTree(rims).query(vertices, distance_upper_bound=1e-6)[0] < 1e-6
    return out


def _refined(vertices: Array, faces: Array, skin: Surface, progress: Progress) -> tuple[Array, Array]:
    """The surface with edges halved where the skin's own triangles are smaller than the grid's."""
    _, share, size, _ = place_on(skin, vertices, normals_of(vertices, faces), progress)
    longest = np.where(share > 0.5, np.maximum(size, FINEST) * 2, np.inf)
    return refine(vertices, faces, longest)


def texel_attachment(
    net: GeometryNet, mesh: HeadMesh, atlas: Atlas, progress: Progress = ignored
) -> tuple[Tensor, Tensor, Attachment]:
    """Of the covered texels: canonical points (N,3), flat indices (N,), and where they lie on the control surface, each
    on the part, and on the side of the skin, that its face belongs to."""
    normals = torch.from_numpy(normals_of(mesh.canonical.numpy(), mesh.faces.numpy(), rounds=0)).float()
    values, index = texel_values(atlas, torch.cat([mesh.canonical, normals], 1), mesh.faces)
    points, directions = values[:, :3], F.normalize(values[:, 3:], dim=1)
    part_of = torch.where(mesh.zone < HAIR, mesh.zone, SKIN)
    of_texel = part_of[torch.from_numpy(atlas.tri.reshape(-1))[index]]
    face, bary, gap = torch.zeros(len(index), dtype=torch.long), torch.zeros(len(index), 3), torch.zeros(len(index))
    done = 0
    for part in torch.unique(of_texel).tolist():
        rows = of_texel == part
        share = between(progress, done / len(index), (done + int(rows.sum())) / len(index))
        done += int(rows.sum())
        source = (net.part == part).nonzero()[:, 0]
        faces = net.faces[source].numpy()
        surface = skin_surface(net.control.numpy(), faces)
        at = surface.attach(points[rows].numpy(), directions[rows].numpy(), progress=share)
        face[rows], bary[rows], gap[rows] = source[at.face], at.bary, at.gap
    return points, index, Attachment(face, bary, gap)


def mesh_report(mesh: HeadMesh, names: list[str]) -> dict[str, Any]:
    """Soundness of the finished mesh: topology, and flipped and self-intersecting faces in every expression.

    Pairs count within one closed piece: that a tooth stands in its gum is no fault. Flipped faces are those turned by
    90 degrees or more from neutral, among them the hidden side of lids that close, which rolls in.
    """
    t = mesh_topology(mesh.faces)
    piece = connected_pieces(mesh.faces.numpy())

    def crossing(points: Tensor) -> int:
        pairs = self_intersections(points, mesh.faces)
        return int((piece[pairs[:, 0]] == piece[pairs[:, 1]]).sum())

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
        report["self_intersecting_pairs"][name] = crossing(posed)
        report["flipped_faces"][name] = int(flipped_faces(posed, mesh.neutral, mesh.faces).sum())
    report["self_intersecting_pairs"]["neutral"] = crossing(mesh.neutral)
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


def make_atlas(mesh: HeadMesh, size: int, progress: Progress = ignored) -> Atlas:
    """Unwrap the canonical head once; all expressions share it."""
    zone = mesh.zone.numpy()
    unwrapped = unwrap(
        mesh.canonical.numpy(), mesh.faces.numpy(), size, group=zone, density=DENSITY[zone], progress=progress
    )
    tri, bary = rasterize_uv(unwrapped.uv, unwrapped.faces_uv, size)
    return Atlas(unwrapped.uv, unwrapped.faces_uv, tri, bary)


def texel_values(atlas: Atlas, vertex_values: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Values (N,C) of the covered texels from vertex values (V,C), and their flat indices (N,)."""
    index = torch.from_numpy(np.nonzero(atlas.tri.reshape(-1) >= 0)[0])
    tri = torch.from_numpy(atlas.tri.reshape(-1))[index]
    bary = torch.from_numpy(atlas.bary.reshape(-1, 3))[index]
    return (vertex_values[faces[tri]] * bary[..., None]).sum(1), index
