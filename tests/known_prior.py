# SPDX-License-Identifier: GPL-3.0-or-later
"""A prior whose wish is known: it takes every picture for a noisy version of a target, drawn from the same cameras."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from idto3d.distill import geometry, texture
from idto3d.distill.config import CameraDistribution, DistillationConfig, Form, Score
from idto3d.distill.guidance import Conditioning, conditions
from idto3d.distill.scene import Scene, make_scene
from idto3d.distill.views import View
from idto3d.headmodel import HeadModel
from idto3d.prior.adapters import Condition
from idto3d.prior.schedule import make_schedule
from idto3d.training.distillation import STARTER
from tests.tiny_head import tiny_head_model

SIZE = 64
NAMES = ("neutral", "smile", "jaw_open")
WEIGHTS: dict[str, dict[str, float]] = {"neutral": {}, "smile": {"mouthSmile": 0.9}, "jaw_open": {"jawOpen": 0.8}}

Wish = Callable[[Sequence[View], int], Tensor]
"""Views and expression to the pictures (B,SIZE,SIZE,3) that the prior wants."""


class KnownPrior:
    """Latents are pictures at half the resolution; the clean estimate is the wish, whatever the noise."""

    def __init__(self, wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wish, self.image_size, self.lambda_ref = wish, SIZE, 0.0
        self.schedule = make_schedule()
        self.device = torch.device("cpu")
        self.domains: list[str] = []
        self.encoded = 0
        self._asked: tuple[Sequence[View], int] = ((), 0)
        for stage in (geometry, texture):
            monkeypatch.setattr(stage, "conditions", self._conditions)

    def _conditions(self, prior: Any, who: Any, config: Any, expression: int, views: Any, domain: Any) -> Condition:
        """Notes what the wish will be asked for."""
        self._asked = (views, expression)
        return conditions(prior, who, config, expression, views, domain)

    def use(self, domain: str) -> None:
        self.domains.append(domain)

    def interrupted_by(self, poll: Callable[[], None]) -> Any:
        return contextlib.nullcontext()

    def encode(self, images: Tensor) -> Tensor:
        self.encoded += 1
        return F.avg_pool2d(images.permute(0, 3, 1, 2), 2)

    def decode(self, latents: Tensor) -> Tensor:
        return F.interpolate(latents, scale_factor=2).permute(0, 2, 3, 1)

    def has_room(self, text: str) -> bool:
        return True

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.zeros(len(texts), 2, 4)

    def empty_text(self) -> Tensor:
        return torch.zeros(1, 2, 4)

    def predict(self, z_t: Tensor, t: Tensor, *_: Tensor) -> Tensor:
        with torch.no_grad():
            target = F.avg_pool2d(self.wish(*self._asked).permute(0, 3, 1, 2), 2)
        alpha, sigma = self.schedule.alpha_sigma(t)
        return (z_t - alpha * target.repeat(len(z_t) // len(target), 1, 1, 1)) / sigma


class Shown:
    """Evidence: the person's right half of the front was seen."""

    def __init__(self, model: HeadModel, side: int = 32) -> None:
        x, _, z = model.neutral.T
        self.vertex_seen = np.clip((0.02 - x) / 0.02, 0, 1) * np.clip((z + 0.02) / 0.02, 0, 1)
        columns = (np.arange(side) + 0.5) / side
        self.maps, self.seen = {}, {}
        for material in model.materials:
            if material.evidence:
                look = np.array([*material.albedo, material.roughness, material.specular], np.float32)
                self.maps[material.name] = np.broadcast_to(look, (side, side, 5)).copy()
                # u of the face runs over to the person's left; what is behind was not seen
                half = np.clip((0.55 - columns) / 0.1, 0, 1) if material.name == "skin" else np.zeros(side)
                self.seen[material.name] = np.broadcast_to(half, (side, side)).astype(np.float32)


def tiny_scene(model: HeadModel | None = None, names: Sequence[str] = NAMES) -> Scene:
    model = model or tiny_head_model()
    displacements = [np.tensordot(model.expression_vector(WEIGHTS[n]), model.expression, 1) for n in names]
    return make_scene(model, model.neutral, np.stack(displacements), Shown(model))


def someone(names: Sequence[str] = NAMES) -> Conditioning:
    y_id = F.normalize(torch.ones(512), dim=0)
    return Conditioning(y_id, torch.eye(len(names), 4), tuple(names), tuple(names), "")


VIEWS = CameraDistribution(
    azimuth=((0.5, -45, 45), (0.35, -110, 110), (0.15, 110, 250)),
    elevation=(-15, 30),
    fov=(16, 30),
    frame=(0.33, 0.38),
    target=(0.0, -0.025, 0.0),
    close_share=0.4,
    close_within=80,
    close_frame=(0.13, 0.2),
    close_target=(0.0, -0.055, 0.05),
    jitter=0.006,
    gate=(45, 90),
    candidates=1,
)


def quick_config(steps: int, form: Form = "x0", **changes: Any) -> DistillationConfig:
    """The starter pack's, with so many steps and few surprises; changes: {"geometry": {...}, "texture": {...}}."""
    wide = replace(VIEWS, azimuth=((1.0, 0.0, 100.0),), close_share=0.0)
    score = Score(form, "sigma2", guidance=1.5, t_min=0.02, t_max_start=0.7, t_max_end=0.5)
    base = {
        "geometry": {
            "score": score,
            "lr_neutral": 2e-3,
            "smoothing": 4.0,
            "held": 1e-4,
            "trust": 8e-3,
            "feather": 0.02,
            "hold_weight": 1e-4,
            "strain_weight": 2e-3,
            "views": 2,
        },
        "texture": {
            "score": score,
            "lr": 0.2,
            "residual": 32,
            "held": 0.01,
            "trust": 2.0,
            "feather": 0.3,
            "hold_weight": 1e-4,
            "seam_weight": 0.01,
            "views": 2,
            "lit_share": 0.0,
        },
    }

    def stage(name: str, config: Any) -> Any:
        counts = replace(config.steps, draft=steps, standard=steps, fine=steps)
        return replace(config, steps=counts, **{**base[name], **changes.get(name, {})})

    return replace(
        STARTER,
        views=replace(wide, **changes.get("views", {})),
        geometry=stage("geometry", STARTER.geometry),
        texture=stage("texture", STARTER.texture),
    )
