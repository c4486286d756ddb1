# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa
"""Geometry stage: SDS through phi_g shapes Psi_g(Gamma, k_exp) (Babiloni et al. 2024, section 3).

Starts from the guess that was fitted to the photographs and stays within a trust region of it. Each step draws one
expression and a few views; all expressions are one mesh, because only the canonical signs decide its faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint import load_checkpoint, save_checkpoint
from ..errors import Cancelled
from ..head.geometry_net import GeometryNet, canonical_of, follow
from ..head.smooth import large_steps, uniform_laplacian
from ..mesh.attach import Attachment
from ..prior.adapters import Condition
from ..prior.model import Domain, Prior, cfg_pair
from ..prior.prompts import view_name
from ..render.normals import normal_map
from ..volume.marching_tets import edge_weight, surface_vertices, topology
from .sds import sds_loss
from .uniform_adam import UniformAdam
from .views import View, draw_expression, sample_views

Progress = Callable[[str, int, int], None]
"""(stage, step, steps), called once before each step; raises Cancelled to stop, with the state kept for resuming."""

SNAP = 0.0015  # metres: surface vertices this near the control surface are put on it (the grid's own error)
HAIR_CELLS = (10, 12, 10)


@dataclass(frozen=True)
class GeometryStageConfig:
    """How the head is sculpted."""

    steps: int = 100
    views: int = 2
    # little: more of it pulls towards what y_id alone says, and the start has seen more than that
    guidance: float = 1.5
    # t / T is drawn below these, from start to end of the stage; where there is much noise the starter pack knows most
    t_max_start: float = 0.7
    t_max_end: float = 0.5
    # learning rates, of the largest entry: identity coefficients (standard deviations), points (m), codes, hair
    # thickness (m)
    lr_identity: float = 0.02
    lr_points: float = 5e-6
    lr_codes: float = 1.2e-2
    lr_hair: float = 2e-4
    # trust region: root mean square motion of the neutral surface away from the start, metres
    trust: float = 1.0e-3
    # and the most that hair may thicken or thin, metres
    hair_trust: float = 1.5e-3
    # weights of: what the photographs say of the identity, the neutral surface near its start, smooth surface normals,
    # expression fields near their start
    evidence_weight: float = 0.3
    start_weight: float = 0.3
    normal_weight: float = 2.0
    warp_weight: float = 1.0
    # share of the steps that show neutral
    neutral_share: float = 0.4
    # large steps (Nicolet et al. 2021): smoothness of the point offsets
    smoothing: float = 30.0
    checkpoint_every: int = 4


@dataclass(frozen=True)
class Conditioning:
    """Who and what: y_id (512,), y_exp (E,D), names and texts of E expressions (neutral first), the user's words."""

    y_id: Tensor
    y_exp: Tensor
    names: tuple[str, ...]
    texts: tuple[str, ...]
    words: str


class GeometryVariables(nn.Module):
    """theta_g: what distillation moves."""

    def __init__(self, net: GeometryNet, coefficients: Tensor) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(coefficients.clone())
        self.points = nn.Parameter(torch.zeros_like(net.control))
        self.codes = nn.Parameter(net.warp.codes.detach().clone())
        self.hair = nn.Parameter(torch.zeros(HAIR_CELLS))


@dataclass(frozen=True)
class Extraction:
    """The surface for one state of the signs: faces (F,3), grid edges (V,2), and where each vertex is attached."""

    faces: Tensor
    edges: Tensor
    attachment: Attachment
    snap: Tensor  # (V,1) share of the control surface's own position


class Sculpture:
    """A head between steps: Psi_g, its variables, and the surface extracted from them."""

    def __init__(
        self, net: GeometryNet, variables: GeometryVariables, precision: Tensor, style: Tensor, smoothing: float
    ) -> None:
        """precision (M,M): inverse covariance of the coefficients that the photographs leave; style (S,): shares of
        hair styles."""
        self.net, self.variables, self.precision = net, variables, precision
        self.start = variables.coefficients.detach().clone()
        self.canonical = canonical_of(net, style)
        self.control = net.surface()
        self.solver = large_steps(uniform_laplacian(net.faces, len(net.control)), smoothing)
        self.where = self._hair_coordinates()
        self.extraction = self.extract()

    def _hair_coordinates(self) -> Tensor:
        points = self.canonical.band.points
        low, high = points.amin(0), points.amax(0)
        return ((points - low) / (high - low) * 2 - 1).flip(-1).view(1, 1, 1, -1, 3)

    def sdf(self) -> Tensor:
        delta = F.grid_sample(self.variables.hair[None, None], self.where, align_corners=True)[0, 0, 0, 0]
        return self.canonical.sdf(delta)

    @torch.no_grad()
    def extract(self, before: Extraction | None = None) -> Extraction:
        """Faces from the signs; attachments from the place on each crossed grid edge that is nearest to the surface as
        hair was at the start. They depend on nothing else, so that those of the extraction before serve again, and a
        run that is resumed finds the same."""
        points = self.canonical.band.points
        faces, edges = topology(self.canonical.band.tets, self.sdf() < 0)
        share = edge_weight(self.canonical.sdf(), edges).nan_to_num(0.5).clamp(0, 1)[:, None]
        places = torch.lerp(points[edges[:, 0]], points[edges[:, 1]], share).numpy()
        if before is None:
            attachment = self.control.attach(places)
        else:
            keys, known = (e[:, 0] * len(points) + e[:, 1] for e in (edges, before.edges))
            at = torch.searchsorted(known, keys).clamp(max=len(known) - 1)
            new = known[at] != keys
            attachment = before.attachment[at].replaced(new, self.control.attach(places[new.numpy()]))
        return Extraction(faces, edges, attachment, (attachment.gap < SNAP).float()[:, None])

    def grid_vertices(self) -> Tensor:
        """(V,3) where the canonical head's distances are zero on the grid's edges; differentiable in the hair."""
        sdf = self.sdf()
        edges = self.extraction.edges
        if bool(((sdf[edges[:, 0]] < 0) == (sdf[edges[:, 1]] < 0)).any()):
            self.extraction = self.extract(self.extraction)
        return surface_vertices(self.canonical.band.points, sdf, self.extraction.edges)

    def canonical_vertices(self) -> Tensor:
        """(V,3) on the canonical head, close to the skin laid on it; differentiable in the hair."""
        v = self.grid_vertices()
        e = self.extraction
        on_skin = follow(self.net, e.attachment, self.net.control, fade=False)
        return v + e.snap * (on_skin - v)

    def identity_motion(self) -> Tensor:
        """(P,3) from the canonical mean to this person's neutral, on the control surface."""
        return self.net.identity_field(self.variables.coefficients) + self.solver.from_differential(
            self.variables.points
        )

    def disbelief(self) -> Tensor:
        """Half the squared Mahalanobis distance per coefficient from the identity that the photographs gave: how much
        less likely they make this one."""
        moved = self.variables.coefficients - self.start
        return 0.5 * moved @ self.precision @ moved / len(moved)

    def expression_motion(self, rows: Tensor) -> Tensor:
        """(B,P,3) offsets from neutral of expressions `rows`, on the control surface."""
        return self.net.expression_field(self.variables.codes[rows], self.variables.coefficients.detach())


def run_geometry_stage(
    sculpture: Sculpture,
    prior: Prior,
    who: Conditioning,
    config: GeometryStageConfig,
    size: int,
    seed: int,
    folder: Path,
    progress: Progress,
) -> dict[str, float]:
    """Distil in place; returns how far it went (mm). Resumes from `folder`."""
    net, variables = sculpture.net, sculpture.variables
    groups = [
        {"params": [variables.coefficients], "lr": config.lr_identity},
        {"params": [variables.points], "lr": config.lr_points},
        {"params": [variables.codes], "lr": config.lr_codes},
        {"params": [variables.hair], "lr": config.lr_hair},
    ]
    optimiser = UniformAdam(groups)
    step = load_checkpoint(folder, variables, optimiser)
    with torch.no_grad():
        rows = torch.arange(1, len(who.names))
        start_neutral = net.identity_field(sculpture.start)
        start_fields = net.expression_field(net.warp.codes[rows], sculpture.start)

    def keep(step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder, variables, optimiser, step, {})

    while step < config.steps:
        try:
            progress("geometry", step, config.steps)
        except Cancelled:
            keep(step)
            raise
        rng = np.random.default_rng([seed, 1, step])
        g = torch.Generator().manual_seed(int(rng.integers(2**62)))
        expression = draw_expression(rng, len(who.names), config.neutral_share)
        views = sample_views(rng, config.views)
        vertices = sculpture.canonical_vertices()
        e = sculpture.extraction
        # An expression's pictures move its code, the neutral ones the person: where a warp is a little wrong, no other
        # face must make it good.
        with torch.set_grad_enabled(expression == 0):
            motion = sculpture.identity_motion()
        posed = vertices + follow(net, e.attachment, motion, fade=False)
        if expression:
            warp = sculpture.expression_motion(torch.tensor([expression]))[0]
            posed = posed + follow(net, e.attachment, warp, fade=True)
            held = config.warp_weight * ((warp - start_fields[expression - 1]) / 0.002).square().mean()
        else:
            held = config.evidence_weight * sculpture.disbelief()
            held = held + config.start_weight * ((motion - start_neutral) / config.trust).square().mean()
            held = held + config.normal_weight * _roughness(motion - start_neutral, net.faces, net.control)
        normals, _ = normal_map(posed, e.faces, [v.camera for v in views], size)
        condition = conditions(prior, who, expression, views, "normal")
        t_range = annealed_range(step / config.steps, 0.02, config.t_max_start, config.t_max_end)
        loss = prior_loss(prior, normals, condition, t_range, config.guidance, g) + held
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for p in variables.parameters():
            if p.grad is not None:
                p.grad.nan_to_num_(0.0, 0.0, 0.0)
        optimiser.step()
        _stay_trusted(sculpture, start_neutral, config)
        step += 1
        if step % config.checkpoint_every == 0 or step == config.steps:
            keep(step)
    with torch.no_grad():
        moved = (sculpture.identity_motion() - start_neutral).norm(dim=1)
        warped = (sculpture.expression_motion(rows) - start_fields).norm(dim=2)
    return {
        "neutral_mm_rms": float(moved.square().mean().sqrt() * 1000),
        "neutral_mm_max": float(moved.max() * 1000),
        "expressions_mm_rms": float(warped.square().mean().sqrt() * 1000) if len(rows) else 0.0,
        "hair_mm_mean": float(variables.hair.detach().abs().mean() * 1000),
    }


def _roughness(motion: Tensor, faces: Tensor, control: Tensor) -> Tensor:
    """Mean squared strain of a displacement along the control surface's edges: normals stay consistent."""
    a, b = torch.cat([faces[:, 0], faces[:, 1]]), torch.cat([faces[:, 1], faces[:, 2]])
    length = (control[a] - control[b]).norm(dim=1).clamp(min=1e-3)
    return ((motion[a] - motion[b]).norm(dim=1) / length).square().mean()


@torch.no_grad()
def _stay_trusted(sculpture: Sculpture, start: Tensor, config: GeometryStageConfig) -> None:
    """Scale the state back when the neutral head has left the trust region."""
    sculpture.variables.hair.clamp_(-config.hair_trust, config.hair_trust)
    radius = config.trust
    rms = float((sculpture.identity_motion() - start).square().sum(1).mean().sqrt())
    if rms > radius:
        v = sculpture.variables
        v.points.mul_(radius / rms)
        v.coefficients.copy_(sculpture.start + (v.coefficients - sculpture.start) * radius / rms)
