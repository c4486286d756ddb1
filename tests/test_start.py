# SPDX-License-Identifier: GPL-3.0-or-later
"""The hair that a head starts with: one style, and none only where the photograph shows none."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from idto3d.appearance import Appearance
from idto3d.start import settle_hair

SKIN = (0.80, 0.60, 0.50)
TEXTURE: Any = SimpleNamespace(cheeks=lambda coefficients: torch.tensor(SKIN))


NONE_LONG = torch.zeros(1, dtype=torch.bool)


def look(*style: float) -> Appearance:
    return Appearance(torch.zeros(4), torch.tensor(style), torch.tensor([0.3, 0.2, 0.1]), 0.5, 30.0, 0.0)


def crop(top: tuple[float, float, float]) -> list[Any]:
    """A head crop that is `top` above the forehead and skin below."""
    picture = np.empty((128, 128, 3), np.uint8)
    picture[:40], picture[40:] = np.array(top) * 255, np.array(SKIN) * 255
    return [SimpleNamespace(head=picture)]


def test_one_style_is_left() -> None:
    settled = settle_hair(look(0.2, 0.45, 0.35), crop((0.1, 0.08, 0.07)), TEXTURE, NONE_LONG, 0.5)
    assert settled.style.tolist() == [0, 1, 0]


def test_hair_whose_style_is_unsure_is_hair() -> None:
    settled = settle_hair(look(0.3, 0.24, 0.26, 0.2), crop(SKIN), TEXTURE, NONE_LONG, 0.5)
    assert settled.style.tolist() == [0, 0, 1, 0]


def test_long_hair_on_a_man_has_to_be_seen() -> None:
    long = torch.tensor([False, False, True])
    unsure, sure = look(0.1, 0.3, 0.6), look(0.0, 0.05, 0.95)
    assert settle_hair(unsure, crop(SKIN), TEXTURE, long, masculine=0.9).style.tolist() == [0, 1, 0]
    assert settle_hair(sure, crop(SKIN), TEXTURE, long, masculine=0.9).style.tolist() == [0, 0, 1]
    assert settle_hair(unsure, crop(SKIN), TEXTURE, long, masculine=0.1).style.tolist() == [0, 0, 1]


def test_dark_strip_overrules_bald() -> None:
    settled = settle_hair(look(0.9, 0.04, 0.06), crop((0.1, 0.08, 0.07)), TEXTURE, NONE_LONG, 0.5)
    assert settled.style.tolist() == [0, 0, 1]
    assert float(settled.hair[0]) == pytest.approx(0.15, abs=0.03)  # three parts of what is seen, one of the guess


def test_fair_hair_is_fairer_than_the_nets_guess() -> None:
    settled = settle_hair(look(0.1, 0.9, 0.0), crop(SKIN), TEXTURE, NONE_LONG, 0.5)
    assert settled.hair.tolist() == pytest.approx(
        [0.75 * h + 0.25 * s for h, s in zip((0.3, 0.2, 0.1), SKIN, strict=True)], abs=0.02
    )


def test_skin_over_the_forehead_stays_bald() -> None:
    before = look(0.9, 0.04, 0.06)
    settled = settle_hair(before, crop(SKIN), TEXTURE, NONE_LONG, 0.5)
    assert settled.style.tolist() == [1, 0, 0]
    torch.testing.assert_close(settled.hair, before.hair)
