# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts Psi_g together from what is known of the population, and fits its expression warp."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..head.geometry_net import HAIR_FAR, WARP_UNIT, GeometryConfig, GeometryNet
from .data import landmark_vertices
from .population import RECIPES, TRAIN_SEED
from .prior import StageConfig, run_stage
from .shape import control_mesh, control_vertices
from .template import HAIR_LOW, HAIR_STEP, canonical_axes

if TYPE_CHECKING:
    from .run import Run

Array = NDArray[Any]
NECK_STILL = -0.11  # height under which the neck comes to rest, within 2 cm
STILL_BELOW = 1.0e-4  # metres of mean motion under which a point counts as scalp or neck


def fixed_tensors(run: Run) -> dict[str, Tensor]:
    """What Psi_g does not learn: grid, control surface, identity basis, signed distances."""
    shape, topology, template = run.shape, run.topology, run.template
    x, y, z = canonical_axes()
    motion = np.linalg.norm(shape.fields, axis=2).max(0)
    still = 1 - np.clip((motion - STILL_BELOW) / (4 * STILL_BELOW), 0, 1)
    # The kit's jaw drags the throat down to the collar; a neck that joins a body must not move where it is cut.
    still = np.maximum(still, np.clip((NECK_STILL - shape.canonical[:, 1]) / 0.02, 0, 1))
    arrays = {
        "control": shape.canonical,
        "closing": shape.neutral - shape.canonical,
        "basis": shape.basis,
        "faces": topology.faces,
        "uv": topology.uv.astype(np.float32),
        "uv_faces": topology.uv_faces,
        "part": topology.part,
        "still": still.astype(np.float32),
        "axis_x": x.astype(np.float32),
        "axis_y": y.astype(np.float32),
        "axis_z": z.astype(np.float32),
        "skin_sdf": template.skin_sdf,
        "hair_sdf": np.round(template.hair_sdf * (127 / HAIR_FAR)).astype(np.int8),
        "hair_low": HAIR_LOW.astype(np.float32),
        "hair_step": np.float32(HAIR_STEP),
        "landmarks": np.concatenate([np.atleast_1d(i) for i in landmark_vertices(run.population)]).astype(np.int64),
    }
    return {k: torch.as_tensor(np.ascontiguousarray(v)) for k, v in arrays.items()}


def build_net(run: Run) -> GeometryNet:
    """Psi_g with its features started from the principal motions of the mean expression fields."""
    torch.manual_seed(run.config.seed)
    fixed = fixed_tensors(run)
    net = GeometryNet(GeometryConfig(len(run.shape.neutral), len(RECIPES), len(run.shape.basis)), fixed)
    fields = torch.from_numpy(run.shape.fields).permute(1, 0, 2).flatten(1) / WARP_UNIT
    u, s, _ = torch.linalg.svd(fields - fields.mean(0), full_matrices=False)
    count = min(net.config.features, u.shape[1])
    start = u[:, :count] * math.sqrt(len(u)) * (s[:count] / s[0]).sqrt()
    net.warp.features.data[:, :count] = start
    return net


def person_fields(run: Run, index: int, expressions: Array) -> Array:
    """Offsets from neutral (B,P,3) of one training person."""
    identity = run.population.person(TRAIN_SEED + index)
    align = run.population.alignment(identity)
    recipes = list(RECIPES.values())
    neutral = control_vertices(control_mesh(run.population, identity, {}), align)
    return np.stack(
        [control_vertices(control_mesh(run.population, identity, recipes[e]), align) - neutral for e in expressions]
    )


def train_geometry(run: Run) -> None:
    """Fit the warp to the offsets of training people; the shape head comes from the recogniser's training."""
    net = build_net(run)
    config = StageConfig(run.config.geometry_steps, batch=3, lr=3e-3, weight_decay=0.0, seed=run.config.seed)
    weight = torch.ones(len(run.shape.neutral), 1)
    weight[run.population.face] = 4.0
    coefficients = torch.from_numpy(run.shape.coefficients)

    def loss_of(step: int, rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        person = int(rng.integers(len(coefficients)))
        expressions = 1 + rng.choice(len(RECIPES) - 1, config.batch, replace=False)
        wanted = torch.from_numpy(person_fields(run, person, expressions))
        got = net.expression_field(net.warp.codes[torch.from_numpy(expressions)], coefficients[person])
        return {"mm2": (((got - wanted) * 1000) ** 2 * weight).mean()}

    run_stage("geometry", run.work / "geometry", net.warp, list(net.warp.parameters()), config, loss_of, autocast=False)


def load_geometry(run: Run) -> GeometryNet:
    """The trained Psi_g: fitted warp, and the shape head that was trained with the recogniser."""
    from ..checkpoint import load_checkpoint

    net = build_net(run)
    load_checkpoint(run.work / "geometry", net.warp)
    net.shape.load_state_dict(run.load_faces().shape.state_dict())
    return net.eval().requires_grad_(False)
