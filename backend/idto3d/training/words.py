# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user's words change in what a pack's phi_a draws of known people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..distill.sds import ddim_sample, guide
from ..expressions import EXPRESSIONS
from ..prior.adapters import Condition
from ..prior.model import Prior, cfg_pair
from ..prior.pack import read_expressions, read_pack
from .captions import caption

PROMPTS = (
    "",
    "very old woman, wrinkled, white hair, freckles",
    "very old",
    "young",
    "white hair",
    "long blonde hair",
    "bald",
    "freckles",
    "full beard",
    "glasses",
    "fat",
)
STEPS, GUIDANCE = 20, 4.0


@torch.no_grad()
def measure_words(pack: Path, y_id: Tensor, sheet: Path) -> dict[str, float]:
    """Mean absolute difference, of 255, that each of PROMPTS makes to phi_a's samples of people y_id (B,512) seen from
    the front, where either shows a head: the same noise, with and without the words. sheet: a PNG, a row a prompt."""
    prior = Prior.load(read_pack(pack), "albedo")
    y_exp = torch.from_numpy(read_expressions(prior.pack)["neutral"]).expand(len(y_id), -1)
    start = torch.randn((len(y_id), 4, 32, 32), generator=torch.Generator().manual_seed(0))
    one = torch.ones(len(y_id))
    rows: list[Tensor] = []
    out: dict[str, float] = {}
    for words in PROMPTS:
        text = caption("albedo", "front", next(iter(EXPRESSIONS)), words, False)
        cond = Condition(prior.encode_text([text] * len(y_id)), y_id, y_exp, one, one)

        def predict(z: Tensor, t: Tensor, cond: Condition = cond) -> Tensor:
            return guide(*cfg_pair(prior, z, t, cond), GUIDANCE)

        rows.append(prior.decode(ddim_sample(start, predict, prior.schedule, STEPS)))
        shown = (rows[0].amax(-1) > 0.05) | (rows[-1].amax(-1) > 0.05)
        out[words] = round(float((rows[-1] - rows[0])[shown].abs().mean()) * 255, 2)
    picture = torch.cat([torch.cat(list(row), 1) for row in rows], 0)
    Image.fromarray((picture.numpy() * 255 + 0.5).astype(np.uint8)).save(sheet)
    return out
