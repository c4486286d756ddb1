# SPDX-License-Identifier: GPL-3.0-or-later
"""The light that portraits of heads are shown in."""

import torch
from torch.nn import functional as F

from .lights import EnvironmentLight, lobe


def portrait_light() -> EnvironmentLight:
    """A key from the upper left and a cool fill, in which what faces the camera looks as light as it is: brighter, pale
    skin and white hair would burn out."""
    key = lobe(F.normalize(torch.tensor([0.5, 0.6, 0.8]), dim=0), 0.9, 0.3)[:, None] * torch.tensor([1.0, 0.96, 0.9])
    fill = lobe(F.normalize(torch.tensor([-0.8, 0.1, 0.4]), dim=0), 0.5, 0.1)[:, None] * torch.tensor([0.85, 0.93, 1.0])
    return EnvironmentLight(0.6 * key + 0.24 * fill)
