# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture stage: SDS through phi_a paints what no photograph shows (Babiloni et al. 2024, section 3, Psi_a).

Each map of evidence gets residual logits at several resolutions. A texel is held to its evidence with the weight of
`seen`, which fades out around what was seen, so that there is no edge.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..prior.model import Prior
from ..render.lights import FlatLight, random_light
from ..render.skin import render_skin
from .config import DistillationConfig, TextureConfig
from .freedom import feathered_map, freedom
from .guidance import Conditioning, conditions, prior_loss
from .loop import SILENT, Callbacks, Draw, RunConfig, Stage, optimise
from .reference import use_domain
from .report import Report, texture_report
from .scene import Scene, Unseen
from .seams import Seam, find_seams, seam_gap
from .uniform_adam import UniformAdam
from .views import draw_expression, sample_views

LAYOUT = 1
CHANNELS = 5
LEVELS = (8, 2, 1)  # sides of the residual maps, as parts of the finest
EPS = 0.005  # values nearer to 0 or 1 have no useful logit


class TextureVariables(nn.Module):
    """The optimised variables: for each painted material residual logits (1,5,s,s) from coarse to fine."""

    def __init__(self, materials: list[str], side: int, device: torch.device) -> None:
        super().__init__()
        self.side = side
        self.maps = nn.ModuleDict(
            {
                name: nn.ParameterList(
                    nn.Parameter(torch.zeros(1, CHANNELS, side // part, side // part, device=device)) for part in LEVELS
                )
                for name in materials
            }
        )

    def residual(self, material: str) -> Tensor:
        """(1,5,side,side) logits."""
        levels = self.maps[material]
        assert isinstance(levels, nn.ParameterList)
        return torch.stack([_resized(level, self.side) for level in levels]).sum(0)


class Painting:
    """The maps as a function of the start and the variables."""

    def __init__(self, scene: Scene, config: TextureConfig) -> None:
        self.start, self.config = scene, config
        self.painted = sorted(scene.map_seen)
        self.variables = TextureVariables(self.painted, config.residual, scene.device)
        self.textured = scene.textured()
        self.base = {name: _logits(scene.maps[name]) for name in self.painted}
        self.small = {name: _resized(base, config.residual) for name, base in self.base.items()}
        self.plain = {name: scene.maps[name] for name in scene.materials if name not in self.painted}
        self.freedom = {}
        for name in self.painted:
            seen = feathered_map(_resized(scene.map_seen[name][None, None], config.residual), config.feather)
            self.freedom[name] = freedom(seen, config.held, config.trust)
        self.share = _area_shares(scene, self.painted)
        self.seams: list[Seam] = find_seams(scene, self.painted)

    def residuals(self) -> dict[str, Tensor]:
        """(1,5,s,s) logits that are added to the painted maps."""
        return {name: self.freedom[name] * self.variables.residual(name) for name in self.painted}

    def maps(self, residuals: dict[str, Tensor]) -> list[Tensor]:
        """(S,S,5) of each of the scene's materials, at the residuals' resolution."""
        return [
            self.plain[name]
            if name in self.plain
            else torch.sigmoid(self.small[name] + residuals[name])[0].permute(1, 2, 0)
            for name in self.start.materials
        ]

    def regularization(self, residuals: dict[str, Tensor]) -> Tensor:
        """Penalties for leaving the evidence, and for different changes across seams."""
        held = torch.stack(
            [
                self.share[name] * (residuals[name] / (self.freedom[name] * self.config.trust)).square().sum(1).mean()
                for name in self.painted
            ]
        ).sum()
        return self.config.hold_weight * held + self.config.seam_weight * seam_gap(self.seams, residuals)

    @torch.no_grad()
    def scene(self) -> Scene:
        """The current scene, in the start's resolution; a texel without a residual is the start's, bit by bit."""
        maps = dict(self.start.maps)
        for name, residual in self.residuals().items():
            base = self.base[name]
            change = torch.sigmoid(base + _resized(residual, base.shape[-1])) - torch.sigmoid(base)
            maps[name] = (maps[name] + change[0].permute(1, 2, 0)).clamp(0, 1)
        return replace(self.start, maps=maps)


def run_texture(
    scene: Scene,
    prior: Prior,
    who: Conditioning,
    config: DistillationConfig,
    run: RunConfig,
    callbacks: Callbacks = SILENT,
) -> tuple[Scene, Report]:
    """Distil the maps of a scene with the adapters of "albedo"; the report has the change by region."""
    who = use_domain(prior, who, scene, config, "albedo")
    stage_config = config.texture
    painting = Painting(scene, stage_config)
    variables = painting.variables
    optimiser = UniformAdam(variables.parameters(), lr=stage_config.lr)
    unseen = Unseen(scene)

    def loss_of(draw: Draw) -> Tensor:
        expression = draw_expression(draw.numpy, len(who.names), stage_config.neutral_share)
        views = sample_views(draw.numpy, config.views, stage_config.views, unseen)
        lit = draw.numpy.random() < stage_config.lit_share
        residuals = painting.residuals()
        picture = render_skin(
            scene.vertices(expression),
            painting.textured.triangles,
            painting.textured.channels(painting.maps(residuals)),
            [v.camera for v in views],
            prior.image_size,
            random_light(draw.torch) if lit else FlatLight(),
        )
        callbacks.poll()
        condition = conditions(prior, who, config, expression, views, "albedo")
        loss = prior_loss(prior, picture, condition, stage_config.score, draw.progress, draw.torch)
        return loss + painting.regularization(residuals)

    start = [scene.neutral, scene.displacements, *(scene.maps[n] for n in painting.painted), who.y_id, who.y_exp]
    stage = Stage(
        "texture",
        2,
        stage_config.steps.of(run.quality),
        stage_config.checkpoint_every,
        LAYOUT,
        [*start, *(scene.map_seen[n] for n in painting.painted), repr(config), repr(who.texts), who.words],
    )
    with prior.interrupted_by(callbacks.poll):
        optimise(stage, variables, optimiser, loss_of, run, callbacks, painting.scene)
    painted = painting.scene()
    return painted, texture_report(scene, painted)


def _logits(image: Tensor) -> Tensor:
    """(1,5,S,S) of a map (S,S,5)."""
    return torch.logit(image.clamp(EPS, 1 - EPS)).permute(2, 0, 1)[None]


def _resized(image: Tensor, side: int) -> Tensor:
    """(1,C,side,side), averaged where that is smaller, bilinear where it is larger."""
    if image.shape[-1] == side:
        return image
    if image.shape[-1] > side:
        return F.interpolate(image, size=(side, side), mode="area")
    return F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)


def _area_shares(scene: Scene, painted: list[str]) -> dict[str, float]:
    """Each painted material's share of their area."""
    textured, vertices = scene.textured(), scene.vertices(0)
    a, b, c = vertices[textured.triangles].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=1)
    sums = {n: float(area[textured.material == k].sum()) for k, n in enumerate(scene.materials) if n in painted}
    return {name: value / sum(sums.values()) for name, value in sums.items()}
