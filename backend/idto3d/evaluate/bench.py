# SPDX-License-Identifier: GPL-3.0-or-later
"""`idto3d bench`: where the time goes between photo and bundle, memory, and how much of each stage is bare U-Net."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from ..generate import STARTER_PACK, Clock, GenerateConfig, make_head
from ..prior.adapters import Condition
from ..prior.model import Prior, cfg_pair
from ..prior.pack import Pack, read_pack
from ..subject import read_subject


def unet_seconds(pack: Pack, views: int, repeats: int = 5) -> float:
    """Median seconds of one guided evaluation of `views` latents, what a distillation step cannot do without."""
    prior = Prior.load(pack.path, "normal", verify=False)
    side = prior.encode(torch.zeros(1, pack.image_size, pack.image_size, 3)).shape[-1]
    z, t = torch.randn(views, 4, side, side), torch.full((views,), 300)
    exp_dim = prior.embed_text([""]).shape[1]
    one = torch.ones(views)
    condition = Condition(
        prior.encode_text([""] * views), torch.zeros(views, 512), torch.zeros(views, exp_dim), one, one
    )
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        cfg_pair(prior, z, t, condition)
        times.append(time.perf_counter() - began)
    return sorted(times)[repeats // 2]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="idto3d bench", description=__doc__)
    parser.add_argument("--pack", type=Path, default=STARTER_PACK)
    parser.add_argument("--photo", type=Path, help="a photo (the astronaut of scikit-image)")
    given = parser.parse_args(arguments)
    pack, config = read_pack(given.pack), GenerateConfig(pack=given.pack)
    with tempfile.TemporaryDirectory() as scratch:
        photo = given.photo or _astronaut(Path(scratch))
        began = time.perf_counter()
        subject = read_subject([photo], pack)
        reading = time.perf_counter() - began
        clock = Clock(lambda event: None)
        make_head(subject, pack, config, Path(scratch) / "work", clock)
    timings = {"reading photos": reading, **clock.timings}
    total = sum(timings.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    bare: dict[str, Any] = {}
    for stage, stage_config in (("geometry", config.geometry), ("texture", config.texture)):
        bare[stage] = unet_seconds(pack, stage_config.views) * stage_config.steps / timings[stage]
    for stage, seconds in timings.items():
        share = f", {bare[stage]:.0%} of it bare U-Net" if stage in bare else ""
        print(f"{stage:20s} {seconds:8.1f} s  {seconds / total:6.1%}{share}")
    print(f"{'all':20s} {total:8.1f} s, peak memory {peak:.1f} GB, {torch.get_num_threads()} threads")
    return 0


def _astronaut(folder: Path) -> Path:
    from PIL import Image
    from skimage import data

    path = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path
