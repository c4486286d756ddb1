# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample sheets of a prior in training: its samples beside training pictures of the same captions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..distill.sds import ddim_sample, guide
from ..prior.schedule import make_schedule
from ..whole_file import whole

COLUMNS = 8
STEPS = 20
GUIDANCE = 3.0

EpsPair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(z_t, t) to the unconditional and the conditional noise."""


@torch.no_grad()
def sample_sheet(path: Path, decode: Callable[[Tensor], Tensor], rows: list[tuple[Tensor, EpsPair]], seed: int) -> None:
    """Write a PNG with two lines of pictures for each row: samples, and the training pictures of the same captions.

    rows: true latents (COLUMNS,4,h,w), scaled, and the noise predictor under their captions. decode: scaled latents to
    images (B,H,W,3) in 0..1.
    """
    lines = []
    for true, pair in rows:
        g = torch.Generator().manual_seed(seed)
        start = torch.randn(true.shape, generator=g).to(true.device)

        def eps(z: Tensor, t: Tensor, pair: EpsPair = pair) -> Tensor:
            return guide(*pair(z, t), GUIDANCE)

        drawn = ddim_sample(start, eps, make_schedule().to(true.device), STEPS)
        lines += [decode(drawn), decode(true)]
    sheet = torch.cat([torch.cat(list(line), 1) for line in lines], 0).clamp(0, 1).cpu().numpy()
    with whole(path) as partial:
        Image.fromarray((sheet * 255 + 0.5).astype(np.uint8)).save(partial, "PNG")


def decoder(vae: Any, latent_scale: float) -> Callable[[Tensor], Tensor]:
    """Scaled latents (B,4,h,w) to images (B,H,W,3) in 0..1 by an autoencoder, on its own device."""

    def decode(latents: Tensor) -> Tensor:
        like = next(vae.parameters())
        out: Tensor = vae.decode(latents.to(like) / latent_scale).sample.float()
        return (out * 0.5 + 0.5).permute(0, 2, 3, 1)

    return decode
