# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains a domain's reference network, which takes a picture of the person (`prior.reference`).

All else is frozen. A sample's reference is another, unedited view of its person, masked to what faces the camera, like
the evidence of one photograph. It gets the errors of tone of de-lit photographs, so that the prior learns how far to
trust it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import Array
from ..distill.views import from_front
from ..prior.adapters import denoise
from ..prior.model import look_at
from ..prior.reference import reference_of, reference_parameters
from ..prior.schedule import make_schedule
from .captions import Domain
from .prior import PriorData, Priors, draw_condition, noised, weighted
from .stage import StageConfig, run_stage

REFERENCE_DROPOUT = 0.15
"""Share of the samples without a reference, besides those of people without another frontal view."""
WITHIN = 60.0
"""Degrees from the front within which a view may be a reference."""
COPIES = 2
"""References made of each view, with different masks and errors of tone."""
TONE, TINT, SHADING = 0.08, 0.03, 0.06
"""Standard deviations of a reference's errors, relative to its sRGB: common to all channels, of each channel, and by
the surface's normal."""


def reference_rows(views: dict[str, Array]) -> Array:
    """Rows of the views that may be references: frontal and unedited."""
    near = np.array([from_front(float(azimuth)) <= WITHIN for azimuth in views["camera"][:, 0]])
    return np.flatnonzero(near & (views["traits"] == views["own_traits"]).all(1))


def reference_pictures(domain: Domain, views: dict[str, Array], rng: np.random.Generator) -> Array:
    """(N,S,S,3) uint8 references from views: what faces the camera, on black; an albedo gets errors of tone."""
    count = len(views["normal"])
    cover = views["coverage"][..., None].astype(np.float32) / 255
    normal = views["normal"].astype(np.float32) * (2 / 255) - cover
    shown = (normal[..., 2:] > rng.uniform(0.2, 0.6, (count, 1, 1, 1))) & (cover > 0.5)
    picture = views[domain].astype(np.float32)
    if domain == "albedo":
        shading = np.einsum("nhwc,nc->nhw", normal, rng.normal(0, SHADING, (count, 3)))[..., None]
        tone = rng.normal(0, TONE, (count, 1, 1, 1)) + rng.normal(0, TINT, (count, 1, 1, 3))
        picture = picture * np.exp(shading + tone)
    return (picture * shown + 0.5).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class References:
    """Scaled latents (M,4,h,w) of reference pictures, and the view (M,) that each was made of, as `PriorData` numbers
    them."""

    latents: Tensor
    row: Array

    def draw(self, data: PriorData, rows: Array, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """References of the rows' people from other views: latents (B,4,h,w), and (B,) 0 where there is none."""
        person = data.person[self.row]
        chosen = np.zeros(len(rows), np.int64)
        there = np.zeros(len(rows), np.float32)
        for n, row in enumerate(rows):
            others = np.flatnonzero((person == data.person[row]) & (self.row != data.view[row]))
            if len(others):
                chosen[n], there[n] = rng.choice(others), 1
        return self.latents[torch.from_numpy(chosen)], torch.from_numpy(there)


def train_reference(
    domain: Domain, priors: Priors, data: PriorData, references: References, folder: Path, config: StageConfig
) -> None:
    """The adapter that `attach_reference` has put on a domain's U-Net."""
    device, unet = config.device, priors.unets[domain]
    for net in (unet, priors.text):
        net.requires_grad_(False)
    parameters = list(reference_parameters(unet).values())
    for p in parameters:
        p.requires_grad_(True)
    schedule = make_schedule().to(device)

    def loss_of(rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        rows = rng.choice(len(data.person), config.batch, replace=False)
        latents, there = references.draw(data, rows, rng)
        gate = there * (torch.rand((len(rows),), generator=g) >= REFERENCE_DROPOUT)
        with torch.no_grad():
            cond = draw_condition(domain, priors, data, rows, rng, g)
            given = look_at(unet, latents.float().to(device), priors.text_of(data.tokens_blank.to(device)))
        cond = replace(cond, reference=reference_of(unet, given, gate.to(device)))
        t, noise, z_t = noised(schedule, data.latents[domain][rows].float().to(device), g)
        eps = denoise(unet, z_t, t, cond).float()
        return {domain: weighted(schedule, eps, noise, t, data.coverage[rows].to(device))}

    run_stage(folder, nn.ParameterList(parameters), config, loss_of)
