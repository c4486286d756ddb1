# SPDX-License-Identifier: GPL-3.0-or-later
"""What videos are read with: how far estimates are brought up by how well landmarks show a shape."""

import numpy as np
import pytest

from idto3d.capture.motion import FEATURES
from idto3d.training.motion import HINTED, fit_motion
from idto3d_shared.live_link import SHAPES

SHOWN, FAINT, UNSEEN = (SHAPES.index(name) for name in ("jawOpen", "mouthPucker", "mouthClose"))


def test_what_is_shown_comes_back_to_size_and_what_is_hinted_at_varies_as_it_does() -> None:
    rng = np.random.default_rng(0)
    count, people = 600, np.repeat(np.arange(30), 20)
    wanted = np.zeros((count, len(SHAPES)))
    wanted[:, [SHOWN, FAINT, UNSEEN]] = rng.uniform(0, 1, (count, 3)) * (rng.random((count, 3)) < 0.5)
    own = rng.normal(0, 3, (30, 2))[people]  # everybody's rest lies elsewhere
    given = np.zeros((count, FEATURES))
    given[:, 0] = 20 * wanted[:, SHOWN] + rng.normal(0, 1, count) + own[:, 0]
    given[:, 301] = 20 * wanted[:, FAINT] + rng.normal(0, 15, count) + own[:, 1]

    motion = fit_motion(given, wanted, people)
    still = np.zeros((3, FEATURES))
    still[1, 0], still[2, 301] = 20, 20
    rest, shown, faint = motion.shapes(still)
    assert shown[SHOWN] - rest[SHOWN] == pytest.approx(1, abs=0.15)
    seen = motion.shapes(given)
    beside = [seen[:, k] - np.array([seen[people == p, k].mean() for p in range(30)])[people] for k in (FAINT, UNSEEN)]
    correlation = np.corrcoef(beside[0], wanted[:, FAINT])[0, 1]
    assert HINTED < correlation < 0.5, "the case is as meant"
    assert 0.6 < beside[0].std() / wanted[:, FAINT].std() < 1.2
    assert faint[FAINT] - rest[FAINT] < 0.9, "what is hinted at stays below its size"
    assert beside[1].std() < 0.1 * wanted[:, UNSEEN].std(), "what nothing shows stays still"
