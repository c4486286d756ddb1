# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair painted on the skin that it grows on."""

from dataclasses import replace

import numpy as np

from idto3d.evidence.hair_colour import HairColour
from idto3d.hair import FADE, HairSeen
from idto3d.volume.hair import Ground, empty_volume
from idto3d.volume.hood import PIXEL, Hood

HOOD = Hood(np.zeros(3), 0.09, 0.2)


def test_hair_grows_thin_at_its_line_and_is_not_cut_there_strand_by_strand() -> None:
    """From the crown down to the equator, with strands that run down."""
    turn, down = HOOD.map_coordinates()
    flat = np.zeros(down.shape)
    flow = np.stack([np.sin(turn), np.cos(turn)], -1)
    ground = Ground(HOOD, flat + 0.09, HOOD.equator - down, flat, flat, flow, 0.0)
    volume = replace(empty_volume(HOOD, (0,)), ground=ground)
    seen = HairSeen((), HairColour(np.zeros(3), (), np.zeros((16, 3)), ()), volume)
    around = np.linspace(-3.0, 3.0, 400)

    def cover(below: float) -> np.ndarray:
        """Of places so many metres below the line."""
        points = HOOD.point(around, np.full(400, HOOD.equator + below), np.full(400, 0.09))
        return seen.roots(points)[0]

    line = cover(0.0)
    assert 0.35 < line.mean() < 0.65 and 0.05 < line.std() < 0.25
    assert 0.05 < line.min() and line.max() < 0.95
    assert cover(-FADE[0] - PIXEL).min() > 0.9 and cover(FADE[0] + PIXEL).max() < 0.1
    assert cover(-FADE[0] / 2).mean() > line.mean() + 0.15 > cover(FADE[0] / 2).mean() + 0.3
