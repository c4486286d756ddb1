# SPDX-License-Identifier: GPL-3.0-or-later
"""Upper lids get the tone of the skin around them."""

import numpy as np
import pytest

from idto3d.evidence.gather import material_texels
from idto3d.evidence.lids import DARKER, LIGHTER, even_lids
from idto3d.fit.projection import EYES
from idto3d.headmodel import HeadModel
from idto3d.mesh.texels import Texels

SKIN = np.array([0.5, 0.32, 0.22])


@pytest.fixture(scope="module")
def head(starter: HeadModel) -> tuple[HeadModel, Texels]:
    return starter, material_texels(starter, next(m for m in starter.materials if m.name == "skin"), 256)


def lids_of(head: tuple[HeadModel, Texels], there: float, seen: float) -> np.ndarray:
    """Log (3,) of how much lighter than the skin the middles of upper lids are, that were `there` times as light."""
    model, at = head
    points, marks = at.at(model.neutral), model.landmarks(model.neutral)
    lids = np.min([np.linalg.norm(points - marks[list(eye[9:])].mean(0), axis=1) for eye in EYES], 0) < 0.012
    albedo = np.broadcast_to(SKIN, (256, 256, 3)).astype(np.float32).copy()
    albedo.reshape(-1, 3)[at.index[lids]] *= there
    out = even_lids(model, at, albedo, np.full((256, 256), seen, np.float32)).reshape(-1, 3)
    assert np.abs(np.log(out[at.index[points[:, 1] < marks[152, 1]]] / SKIN)).max() < 1e-3
    middle = [at.index[np.linalg.norm(points - marks[k], axis=1).argmin()] for k in (159, 386)]
    return np.asarray(np.log(out[middle] / SKIN).mean(0))


@pytest.mark.parametrize("seen", [0.0, 1.0])
@pytest.mark.parametrize(("there", "most"), [(0.5, -DARKER), (2.0, LIGHTER), (1.0, 0.0)])
def test_dark_and_light_lids_get_nearly_the_tone_of_skin(
    head: tuple[HeadModel, Texels], there: float, most: float, seen: float
) -> None:
    np.testing.assert_allclose(lids_of(head, there, seen), most, atol=0.03)


def test_a_map_without_eyes_stays(head: tuple[HeadModel, Texels]) -> None:
    model, _ = head
    at = material_texels(model, next(m for m in model.materials if m.name == "head"), 64)
    albedo = np.random.default_rng(1).random((64, 64, 3)).astype(np.float32)
    np.testing.assert_array_equal(even_lids(model, at, albedo, np.zeros((64, 64), np.float32)), albedo)
