# SPDX-License-Identifier: GPL-3.0-or-later
"""landmarks.safetensors: what fitting a head to photographs needs beside the landmark net.

Expressions of the whole kit, not only the pack's thirteen, because a photograph shows any; and how far the two guesses
of an identity can be trusted, measured on people that no net was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ..head.texture_net import quantise_basis
from . import face_nets
from .data import draw_shot, load_shards
from .landmark_net import landmark_crops
from .landmarks import SHOWN, choose_landmarks
from .photos import degrade, take_photo
from .population import TRAIN_SEED
from .shape import coefficients_of, control_mesh, control_vertices
from .store import stored

if TYPE_CHECKING:
    from .run import Run

CALIBRATION_SEED = TRAIN_SEED + 500_000
CALIBRATION_PEOPLE = 100


def expression_modes(run: Run, draws: int = 600, modes: int = 24) -> Tensor:
    """(modes,P',3) metres: principal motions of random expressions of random people, about the neutral face, one
    standard deviation each; P' covers the parts that photographs show."""

    def make() -> dict[str, np.ndarray]:
        population, moved = run.population, []
        for i in range(draws):
            identity, rng = population.person(TRAIN_SEED + i), np.random.default_rng([TRAIN_SEED + i, 3])
            expression: dict[str, float] = {}
            while not expression:
                expression = draw_shot(rng, population.kit).expression
            align = population.alignment(identity)
            rest = control_vertices(population.kit.mesh(identity, parts=SHOWN), align)
            moved.append(control_vertices(population.kit.mesh(identity, expression, parts=SHOWN), align) - rest)
        flat = np.stack(moved).reshape(draws, -1)
        _, s, rows = np.linalg.svd(flat, full_matrices=False)
        basis = rows[:modes] * (s[:modes] / np.sqrt(draws))[:, None]
        return {"modes": basis.reshape(modes, -1, 3).astype(np.float32)}

    return torch.from_numpy(stored(run.work / "expression_modes.npz", make)["modes"])


@dataclass(frozen=True)
class Guesses:
    """What the nets say of photographs (N) of people that none of them has seen. by_id, by_image, true (N,M): identity
    coefficients from y_id, from the landmark net, and true; masculine, true_sex (N,): the appearance net's and true."""

    by_id: Tensor
    by_image: Tensor
    true: Tensor
    masculine: Tensor
    true_sex: Tensor


@torch.no_grad()
def guesses(run: Run) -> Guesses:
    population, nets, net = run.population, run.load_faces(), run.load_landmarks()
    faces = load_shards(run.calibration / "faces", face_nets.ARRAYS)
    people = [population.person(CALIBRATION_SEED + i) for i in range(CALIBRATION_PEOPLE)]
    true = []
    for identity in people:
        neutral = control_vertices(control_mesh(population, identity, {}), population.alignment(identity))
        true.append(coefficients_of(population, run.shape, neutral))
    sex = torch.tensor([population.attribute(identity, "gender") for identity in people])
    g = torch.Generator().manual_seed(run.config.seed)
    by_id, by_image, masculine = [], [], []
    for rows in np.array_split(np.arange(len(faces["person"])), 6):
        renders = face_nets.renders_of(faces, rows)
        photos = take_photo(renders, g)
        crop = degrade(face_nets.arcface_crops(photos, renders.keypoints, g, 0.5), g)
        by_id.append(nets.shape(F.normalize(nets.recogniser(face_nets.to_net(crop)), dim=1)))
        crop = degrade(landmark_crops(photos, renders.keypoints, g)[0], g)
        by_image.append(net(face_nets.to_net(crop))[2])
        crop = degrade(face_nets.head_crops(photos, renders.keypoints, g, 0.5), g)
        masculine.append(nets.appearance(face_nets.to_net(crop))[3][:, 0])
    person = torch.from_numpy(faces["person"].astype(np.int64)) - CALIBRATION_SEED
    coefficients = torch.from_numpy(np.stack(true)).float()[person]
    return Guesses(torch.cat(by_id), torch.cat(by_image), coefficients, torch.cat(masculine), sex[person])


def trust(by_id: Tensor, by_image: Tensor, true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each coefficient (M,): the weights of both guesses (N,M) whose sum comes nearest to the truth, and the
    standard deviation of what is still missed."""
    pairs = torch.stack([by_id, by_image], -1).permute(1, 0, 2)  # (M,N,2)
    keep = 0.01 * len(true) * torch.eye(2)  # both guesses nearly agree: do not play one against the other
    normal = pairs.mT @ pairs + keep
    weights = torch.linalg.solve(normal, pairs.mT @ true.T[..., None])
    missed = true.T - (pairs @ weights)[..., 0]
    return weights[:, 0, 0], weights[:, 1, 0], missed.square().mean(1).sqrt()


def sex_direction(run: Run) -> Tensor:
    """(M+1,) such that coefficients @ direction[:-1] + direction[-1] is nearest to the sex (0 female, 1 male) of the
    training people, of whom it explains 99 %."""
    population = run.population
    coefficients = run.shape.coefficients.astype(np.float64)
    people = range(TRAIN_SEED, TRAIN_SEED + len(coefficients))
    sex = np.array([population.attribute(population.person(seed), "gender") for seed in people])
    rows = np.column_stack([coefficients, np.ones(len(sex))])
    return torch.from_numpy(np.linalg.lstsq(rows, sex, rcond=None)[0]).float()


def sex_logit(shape: Tensor, seen: Guesses) -> Tensor:
    """(3,) a, b, c such that sigmoid(a + b * masculine + c * shape) is the likeliest sex, where shape (N,) is what the
    guessed coefficients say of it."""
    rows = torch.stack([torch.ones_like(shape), seen.masculine, shape], 1)
    weights = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(rows @ weights, seen.true_sex) + 1e-3 * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach()


def write_face_model(run: Run, path: Path) -> None:
    """The file; expressions as bytes."""
    expression, scale = quantise_basis(expression_modes(run)[:, None])
    seen = guesses(run)
    from_id, from_image, sigma = trust(seen.by_id, seen.by_image, seen.true)
    direction = sex_direction(run)
    guessed = seen.by_id * from_id + seen.by_image * from_image
    tensors = {
        "vertices": torch.from_numpy(choose_landmarks(run.population)).int(),
        "expression": expression[:, 0],
        "scale": scale,
        "from_id": from_id,
        "from_image": from_image,
        "sigma": sigma,
        "sex": direction,
        "sex_logit": sex_logit(guessed @ direction[:-1] + direction[-1], seen),
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
