# SPDX-License-Identifier: GPL-3.0-or-later
"""The control surface: one fixed topology (skin, eyes, teeth, tongue) on which the population's motion is known.

The DMTet surface is attached to it point by point; identity is a linear basis over it (PCA of aligned neutral heads),
expressions are displacement fields over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .population import CANONICAL, RECIPES, SOLID_PARTS, TRAIN_SEED, Population, Similarity, triangulate
from .store import stored

Array = NDArray[Any]


@dataclass(frozen=True)
class ControlTopology:
    """faces (T,3) into the control vertices, uv_faces (T,3) into uv (N,2), part (T,) index into SOLID_PARTS."""

    faces: Array
    uv: Array
    uv_faces: Array
    part: Array


def control_mesh(population: Population, identity: Array, expression: dict[str, float], lip_seal: float = 1.0) -> Any:
    """The kit's solid parts with one set of teeth for everybody, so that vertices correspond."""
    fixed = identity.copy()
    fixed[population.kit.identity_names.index("teeth_style")] = 0
    return population.kit.mesh(fixed, expression, parts=SOLID_PARTS, lip_seal=lip_seal)


def control_vertices(mesh: Any, align: Similarity) -> Array:
    """(P,3) aligned vertices of all solid parts."""
    vertices: Array = align(np.concatenate([p.vertices for p in mesh.parts]))
    return vertices


def control_topology(mesh: Any) -> ControlTopology:
    faces, uvs, uv_faces, part = [], [], [], []
    ov = ou = 0
    for p in mesh.parts:
        tri, uv_tri = triangulate(p.faces, p.uv_faces)
        faces.append(tri + ov)
        uv_faces.append(uv_tri + ou)
        uvs.append(p.uv)
        part.append(np.full(len(tri), SOLID_PARTS.index(p.kind)))
        ov += len(p.vertices)
        ou += len(p.uv)
    return ControlTopology(np.concatenate(faces), np.concatenate(uvs), np.concatenate(uv_faces), np.concatenate(part))


@dataclass(frozen=True)
class ShapeModel:
    """neutral, canonical (P,3): mean heads with closed and with parted lips; basis (K,P,3): one standard deviation of
    each mode; coefficients (N,K) of the training people; fields (E,P,3): mean expression offsets from neutral."""

    neutral: Array
    canonical: Array
    basis: Array
    coefficients: Array
    fields: Array


def importance(population: Population, points: int) -> Array:
    """(P,) what a point of the control surface weighs in the PCA: the face is what photos show."""
    weight = np.full(points, 0.5, np.float32)
    weight[population.face] = 1.0
    weight[len(population.mean_head) :] = 0.2
    return weight


def coefficients_of(population: Population, model: ShapeModel, neutral: Array) -> Array:
    """(K,) of an aligned neutral control surface (P,3): its projection on the modes, orthogonal when so weighted."""
    weight = importance(population, len(neutral))[:, None]
    modes = (model.basis * weight).reshape(len(model.basis), -1)
    out: Array = modes @ ((neutral - model.neutral) * weight).ravel() / (modes**2).sum(1)
    return out


def fit_shape(population: Population, people: int, modes: int = 64, field_people: int = 150) -> ShapeModel:
    """PCA of aligned neutral heads, the face weighted twice as much as the rest (it is what photos show)."""
    heads, canonical, fields = [], [], []
    for i in range(people):
        identity = population.person(TRAIN_SEED + i)
        align = population.alignment(identity)
        neutral = control_vertices(control_mesh(population, identity, {}), align)
        heads.append(neutral)
        if i < field_people:
            canonical.append(
                control_vertices(control_mesh(population, identity, CANONICAL, lip_seal=0.0), align) - neutral
            )
            fields.append(
                np.stack(
                    [control_vertices(control_mesh(population, identity, r), align) - neutral for r in RECIPES.values()]
                )
            )
    stack = np.stack(heads)
    mean = stack.mean(0)
    weight = importance(population, len(mean))
    centred = ((stack - mean) * weight[:, None]).reshape(people, -1)
    from scipy.sparse.linalg import eigsh

    values, vectors = eigsh(
        (centred @ centred.T).astype(np.float64), k=modes, v0=np.random.default_rng(0).standard_normal(len(centred))
    )
    order = np.argsort(values)[::-1]
    deviation = np.sqrt(values[order] / people)
    coefficients = vectors[:, order] * np.sqrt(people)
    basis = (coefficients.T / people) @ centred
    basis = basis.reshape(modes, -1, 3) / weight[:, None]
    assert np.allclose(np.linalg.norm((basis * weight[:, None]).reshape(modes, -1), axis=1), deviation, rtol=1e-2)
    return ShapeModel(
        mean.astype(np.float32),
        (mean + np.mean(canonical, 0)).astype(np.float32),
        basis.astype(np.float32),
        coefficients.astype(np.float32),
        np.mean(fields, 0).astype(np.float32),
    )


def load_or_fit(path: Path, population: Population, people: int) -> ShapeModel:
    """The shape model, fitted once a data folder."""
    return ShapeModel(**stored(path, lambda: vars(fit_shape(population, people))))
