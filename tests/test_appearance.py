# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair colour measured against skin, by hand-made head crops."""

import numpy as np
import pytest
import torch

from idto3d.appearance import measure_hair
from idto3d.render.shading import linear_to_srgb, srgb_to_linear

SKIN = torch.tensor([0.80, 0.60, 0.50])


@pytest.mark.parametrize("hair", [(0.10, 0.08, 0.07), (0.65, 0.50, 0.30)])
@pytest.mark.parametrize("light", [(1.0, 1.0, 1.0), (0.5, 0.45, 0.35)])
def test_light_cancels_out(hair: tuple[float, ...], light: tuple[float, ...]) -> None:
    """A crop that is hair above and skin below, under coloured light, gives back the hair's albedo."""
    albedo = torch.tensor(hair)
    lit = [linear_to_srgb(srgb_to_linear(c) * torch.tensor(light)) for c in (albedo, SKIN)]
    crop = np.empty((1, 128, 128, 3), np.uint8)
    crop[:, :40] = (lit[0] * 255).round().byte().numpy()
    crop[:, 40:] = (lit[1] * 255).round().byte().numpy()
    torch.testing.assert_close(measure_hair(crop, SKIN), albedo, atol=0.02, rtol=0)
