# SPDX-License-Identifier: GPL-3.0-or-later
"""The person in the video at the nets' landmarks: the face at rest, its expressions, its eyeballs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idto3d_shared.errors import BundleError
from idto3d_shared.npz import read_npz

from ..arrays import Array
from ..bundle import to_head_frame
from ..errors import UserError
from ..finish.head import HIDDEN, shipped_faces
from ..headmodel import HeadModel
from ..photos.landmarks import MESH

CORNERS = ((263, 362), (33, 133))
"""Landmarks of the eyes' corners: the person's left, right."""

# Metres from the eye's corners back to the eyeball's centre, and its radius, where the model has no eyeballs.
_EYE_DEPTH, _EYE_RADIUS = 0.004, 0.012
# The model's expressions that no ARKit shape has on its own.
_NOT_OURS = ("cheekRaiser",)
_WANTED: dict[str, tuple[str, tuple[str | int, ...]]] = {"vertices": ("<f4", ("V", 3)), "faces": ("<i4", ("F", 4))}
_MOST, _MOST_BYTES = 4_000_000, 1 << 30


@dataclass(frozen=True, eq=False)
class Person:
    """index (K,): which of the 478 landmarks; neutral (K,3) metres, head frame; basis (K,3,E) of the expressions; trust
    (K,); centre (3,): mean of neutral; eyes (2,3): centres of the eyeballs, left first, and radius (2,); names (E,) of
    the expressions."""

    index: Array
    neutral: Array
    basis: Array
    trust: Array
    centre: Array
    eyes: Array
    radius: Array
    names: tuple[str, ...]

    def moved(self, expression: Array) -> Array:
        """(K,3) landmarks of an expression (E,)."""
        return self.neutral + self.basis @ expression


def person_of(model: HeadModel, vertices: Array) -> Person:
    """The person whose face at rest is vertices (P,3) of the model, head frame."""
    index = np.flatnonzero(model.landmark_trust[:MESH] > 0)
    corners, weights = model.landmark_triangle[index], model.landmark_barycentric[index].astype(np.float64)
    ours = [n for n, name in enumerate(model.expression_names) if not name.startswith(_NOT_OURS)]
    neutral = np.einsum("kjc,kj->kc", vertices[corners], weights)
    basis = np.einsum("ekjc,kj->kce", model.expression[ours][:, corners].astype(np.float64), weights)
    eyes, radius = _eyes(model, vertices)
    trust = model.landmark_trust[index].astype(np.float64)
    names = tuple(model.expression_names[n] for n in ours)
    return Person(index, neutral, basis, trust, neutral.mean(0), eyes, radius, names)


def vertices_of_head(model: HeadModel, head: Path) -> Array:
    """(P,3) float64, head frame: the model's vertices in a bundle's folder, or in a file like its head.npz; those that
    do not ship are the mean head's. Raises UserError E_CAPTURE_HEAD."""
    file = head / "head.npz" if head.is_dir() else head
    try:
        arrays = read_npz(file, _WANTED, {"V": _MOST, "F": _MOST}, _MOST_BYTES)
    except BundleError as error:
        raise _refused(error.message.rstrip(".")) from error
    vertices, faces = arrays["vertices"], arrays["faces"]
    # Heads of an earlier release have all sheets of lashes.
    for rows in (shipped_faces(model), ~model.faces_of(*HIDDEN)):
        quads = model.quads[rows]
        used = np.unique(quads[quads >= 0])
        place = np.full(len(model.neutral) + 1, -1)
        place[used] = np.arange(len(used))
        here = faces[: len(quads)]
        if len(vertices) >= len(used) and here.shape == quads.shape and (here == place[quads]).all():
            break
    else:
        raise _refused("the head's mesh is not the pack's")
    if not np.isfinite(vertices).all():
        raise _refused("it holds values that are not finite")
    out = model.neutral.astype(np.float64)
    out[used] = to_head_frame(vertices[: len(used)])
    return out


def _refused(why: str) -> UserError:
    fix = "Choose the head as it was made, with its own pack, or let the video tell who it is."
    return UserError("E_CAPTURE_HEAD", f"The person cannot be taken from this head: {why}.", fix)


def _eyes(model: HeadModel, vertices: Array) -> tuple[Array, Array]:
    """Centres (2,3) and radii (2,) of the eyeballs: least-squares spheres of their surface."""
    balls = model.vertices_of("sclera")
    middles, radii = [], []
    for side, corners in zip((1, -1), CORNERS, strict=True):
        surface = vertices[balls & (side * vertices[:, 0] > 0)]
        if len(surface) < 8:
            middles.append(model.landmarks(vertices)[list(corners)].mean(0) - [0, 0, _EYE_DEPTH])
            radii.append(_EYE_RADIUS)
            continue
        solved = np.linalg.lstsq(np.c_[2 * surface, np.ones(len(surface))], (surface**2).sum(1), rcond=None)[0]
        middles.append(solved[:3])
        radii.append(float(np.sqrt(solved[3] + solved[:3] @ solved[:3])))
    return np.array(middles), np.array(radii)
