# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture stage: SDS through phi_a paints albedo, roughness and specular, Psi_a (Babiloni et al. 2024, section 3).

The rendering is a pseudo-albedo under random light; the prior only knows flat albedo, so that shading, which changes at
every step, cannot be baked in. One atlas for all expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint import load_checkpoint, save_checkpoint
from ..errors import Cancelled
from ..head.finish import Atlas, HeadMesh
from ..head.geometry_net import GeometryNet
from ..head.texture_net import CHANNELS, TextureNet
from ..mesh.attach import carry
from ..prior.model import Prior
from ..render.lights import random_light
from ..render.skin import Covered, render_skin, sample_map
from .geometry_stage import Conditioning, Progress
from .views import draw_expression, sample_views


@dataclass(frozen=True)
class TextureStageConfig:
    """How the head is painted."""

    steps: int = 60
    views: int = 2
    guidance: float = 4.0
    t_max_start: float = 0.5
    t_max_end: float = 0.2
    # Adam's learning rates: residual maps (logits), expression field
    lr_maps: float = 1e-3
    lr_field: float = 1e-3
    # side of the finest residual map; the coarsest is an eighth
    residual: int = 256
    # trust region: greatest change of a map's logit
    trust: float = 0.04
    start_weight: float = 0.5
    checkpoint_every: int = 4


class TextureVariables(nn.Module):
    """theta_a: residual maps from coarse to fine, and the expression field."""

    def __init__(self, net: TextureNet, size: int) -> None:
        super().__init__()
        self.maps = nn.ParameterList(nn.Parameter(torch.zeros(1, CHANNELS, s, s)) for s in (size // 8, size // 2, size))
        self.field = nn.Parameter(net.field.readout.weight.detach().clone())

    def residual(self, size: int) -> Tensor:
        """(1,5,size,size) logits."""
        layers = [F.interpolate(m, size=(size, size), mode="bilinear", align_corners=False) for m in self.maps]
        return torch.stack(layers).sum(0)


@dataclass(frozen=True)
class Painting:
    """maps (S,S,5) 0..1 of neutral; changes (E,V,5) logits that each other expression adds at the mesh's vertices;
    report: how far the albedo moved from the start."""

    maps: Tensor
    changes: Tensor
    report: dict[str, float]


def run_texture_stage(
    mesh: HeadMesh,
    atlas: Atlas,
    start: Tensor,
    net: TextureNet,
    geometry: GeometryNet,
    coefficients: Tensor,
    prior: Prior,
    who: Conditioning,
    config: TextureStageConfig,
    size: int,
    seed: int,
    folder: Path,
    progress: Progress,
    show: Callable[[Callable[[int], Tensor]], None] | None = None,
) -> Painting:
    """Distil the maps start (S,S,5) 0..1, padded. Resumes from `folder`.

    show: called once before each step with a function that gives the maps of now at a side of choice, (s,s,5).
    """
    variables = TextureVariables(net, config.residual)
    optimiser = torch.optim.Adam(
        [{"params": list(variables.maps), "lr": config.lr_maps}, {"params": [variables.field], "lr": config.lr_field}]
    )
    step = load_checkpoint(folder, variables, optimiser)
    logits = torch.logit(start.clamp(0.005, 0.995)).permute(2, 0, 1)[None]
    small = F.interpolate(logits, size=(config.residual, config.residual), mode="area")
    uv, uv_faces = torch.from_numpy(atlas.uv).float(), torch.from_numpy(atlas.uv_faces).long()

    def keep(step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder, variables, optimiser, step, {})

    @torch.no_grad()
    def current(size: int) -> Tensor:
        """(S,S,5) the maps of now, S = size or the start's side if that is smaller."""
        size = min(size, start.shape[0])
        base = logits if size == start.shape[0] else F.interpolate(logits, size=(size, size), mode="area")
        residual = config.trust * torch.tanh(variables.residual(size) / config.trust)
        return torch.sigmoid(base + residual)[0].permute(1, 2, 0)

    @cache  # codes and person stay as they are; only the readout is distilled
    def attended(expression: int) -> Tensor:
        """(P,W) by how much the control points' features differ from neutral."""
        with torch.no_grad():
            codes = torch.stack([net.field.codes[0], net.field.codes[expression]])
            neutral, other = net.field.hidden(codes, coefficients)
        return other - neutral

    def added(expression: int) -> Tensor:
        """(V,5) logits that an expression adds at the mesh's vertices."""
        change = 0.3 * attended(expression) @ (variables.field - net.field.readout.weight.detach()).T
        return carry(change, geometry.faces, mesh.attachment)

    while step < config.steps:
        try:
            progress("texture", step, config.steps)
        except Cancelled:
            keep(step)
            raise
        if show is not None:
            show(current)
        rng = np.random.default_rng([seed, 2, step])
        g = torch.Generator().manual_seed(int(rng.integers(2**62)))
        expression = draw_expression(rng, len(who.names), 0.5)
        views = sample_views(rng, config.views)
        light = random_light(g)
        vertices = mesh.neutral if expression == 0 else mesh.neutral + mesh.offsets[expression - 1]
        maps = small + config.trust * torch.tanh(variables.residual(config.residual) / config.trust)
        extra = added(expression) if expression else None

        def channels(covered: Covered, maps: Tensor = maps, extra: Tensor | None = extra) -> Tensor:
            at = sample_map(maps, covered(uv, uv_faces))
            return torch.sigmoid(at if extra is None else at + covered(extra, mesh.faces))

        # A pseudo-albedo: the prior knows flat albedo only.
        image = render_skin(vertices, mesh.faces, channels, [v.camera for v in views], size, light)
        condition = conditions(prior, who, expression, views, "albedo")
        t_range = annealed_range(step / config.steps, 0.02, config.t_max_start, config.t_max_end)
        loss = prior_loss(prior, image, condition, t_range, config.guidance, g)
        loss = loss + config.start_weight * sum(m.square().mean() for m in variables.maps)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for p in variables.parameters():
            if p.grad is not None:
                p.grad.nan_to_num_(0.0, 0.0, 0.0)
        optimiser.step()
        step += 1
        if step % config.checkpoint_every == 0 or step == config.steps:
            keep(step)
    with torch.no_grad():
        final = current(start.shape[0])
        moved = (final - start)[..., :3].abs()
        own = [added(e) for e in range(1, len(who.names))]
    changes = torch.stack(own) if own else torch.zeros(0, len(mesh.neutral), CHANNELS)
    report = {"albedo_mean_change": float(moved.mean()), "albedo_max_change": float(moved.max())}
    return Painting(final, changes, report)
