# SPDX-License-Identifier: GPL-3.0-or-later
"""What phi_a itself would paint: the bound of what its distillation can reach.

Views of the start are noised and drawn anew by the prior (SDEdit, Meng et al. 2022), and the maps are fitted to those
pictures by least squares, where no photograph shows anything.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..distill.config import DistillationConfig
from ..distill.guidance import Conditioning, conditions
from ..distill.reference import use_domain
from ..distill.scene import Scene, Unseen
from ..distill.sds import ddim_sample, guide
from ..distill.texture import Painting
from ..distill.views import View, sample_views
from ..prior.model import Prior, cfg_pair
from ..render.lights import FlatLight
from ..render.skin import render_skin

STRENGTH = 0.6  # of t / T: what is left of the start is its shape and its tone
SAMPLING, FITTING, LR = 15, 80, 0.05
FREE = 2.0  # deviations of an unseen texel's logit: pictures may say what they like


def paint_samples(
    scene: Scene, prior: Prior, who: Conditioning, config: DistillationConfig, seed: int, count: int = 16
) -> Scene:
    """The scene painted by `count` samples of the prior."""
    who = use_domain(prior, who, scene, config, "albedo")
    rng, source = np.random.default_rng([seed, 3]), torch.Generator().manual_seed(seed)
    painting = Painting(scene, replace(config.texture, trust=FREE))
    views = sample_views(rng, config.views, count, Unseen(scene))

    def picture(view: View) -> Tensor:
        maps = painting.maps(painting.residuals())
        look = painting.textured.channels(maps)
        cameras = [view.camera]
        return render_skin(scene.vertices(0), painting.textured.triangles, look, cameras, prior.image_size, FlatLight())

    with torch.no_grad():
        drawn = [_sampled(prior, picture(view), view, who, config, source) for view in views]
    optimiser = torch.optim.Adam(painting.variables.parameters(), lr=LR)
    for step in range(FITTING):
        turn = int(rng.integers(count)) if step else 0
        loss = (picture(views[turn]) - drawn[turn]).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return painting.scene()


def _sampled(
    prior: Prior, picture: Tensor, view: View, who: Conditioning, config: DistillationConfig, source: torch.Generator
) -> Tensor:
    """The prior's own picture (1,H,W,3) of a view of the start."""
    z0 = prior.encode(picture)
    start = int(STRENGTH * len(prior.schedule))
    noise = torch.randn(z0.shape, generator=source).to(z0)
    z_t = prior.schedule.add_noise(z0, noise, torch.full((1,), start, device=z0.device))
    condition = conditions(prior, who, config, 0, [view], "albedo")
    pair = partial(cfg_pair, prior, cond=condition)

    def predict(z: Tensor, t: Tensor) -> Tensor:
        return guide(*pair(z, t), config.texture.score.guidance)

    return prior.decode(ddim_sample(z_t, predict, prior.schedule, SAMPLING, start))
