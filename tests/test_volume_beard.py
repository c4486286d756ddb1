# SPDX-License-Identifier: GPL-3.0-or-later
"""A thick beard grows off the skin where the map is dark, goes with the jaw, and stubble, shadows and chins do not."""

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.finish import assemble
from idto3d.finish.head import BEARD, HAIR
from idto3d.fit.projection import linear_to_srgb
from idto3d.mesh.texels import make_texels
from idto3d.volume.beard import LENGTH, Beard, grow_beard
from idto3d.volume.hair_mesh import attach_hair
from tests.tiny_head import tiny_head_model

MODEL = tiny_head_model(96, 64)
TONE = np.array([0.5, 0.3, 0.2])
MARKS = np.einsum("kjc,kj->kc", MODEL.neutral[MODEL.landmark_triangle], MODEL.landmark_barycentric)


def skin(colour: Array, spot: Array | None = None) -> Array:
    """A map of the tone, and of a colour on the lower face; or within 4 cm of the chin and 5 mm of a spot (3,)."""
    texels = make_texels(MODEL.uv, MODEL.triangles_uv, MODEL.triangles, 256)
    points = texels.at(MODEL.neutral)
    where = (points[:, 1] < MARKS[2, 1]) & (points[:, 1] > MARKS[152, 1] - 0.01) & (points[:, 2] > 0)
    if spot is not None:
        where = (away(points, MARKS[152]) < 0.04) | (away(points, spot) < 0.005)
    return texels.padded(texels.image(linear_to_srgb(np.where(where[:, None], colour, TONE))))


def away(points: Array, place: Array) -> Array:
    return np.asarray(np.linalg.norm(points - place, axis=-1))


@pytest.fixture(scope="module")
def beard() -> Beard:
    grown = grow_beard(MODEL, MODEL.neutral, skin(np.array([0.05, 0.04, 0.03])), TONE)
    assert grown is not None
    return grown


@pytest.mark.parametrize(
    "colour", [TONE, 0.75 * TONE, np.array([0.15, 0.02, 0.02])], ids=["clean", "stubble", "red shadow"]
)
def test_no_beard_of_what_is_none(colour: Array) -> None:
    assert grow_beard(MODEL, MODEL.neutral, skin(colour), TONE) is None


def test_it_stands_off_the_skin_and_is_as_dark(beard: Beard) -> None:
    corners = MODEL.neutral[MODEL.triangles[beard.face]]
    away = np.linalg.norm(beard.vertices - np.einsum("vkc,vk->vc", corners, beard.bary), axis=1)
    assert away.max() > LENGTH[0] and away.max() < 1.5 * LENGTH[1]
    assert beard.vertices[:, 1].max() < MARKS[2, 1] + 0.005
    assert np.median(beard.palette[..., 0]) < linear_to_srgb(np.array([0.08])).max()
    assert beard.uv.min() >= 0 and beard.uv.max() <= 1
    again = grow_beard(MODEL, MODEL.neutral, skin(np.array([0.05, 0.04, 0.03])), TONE)
    assert again is not None and np.array_equal(again.vertices, beard.vertices)


def test_a_dark_fold_of_the_cheek_is_no_part_of_it() -> None:
    dark, face = np.array([0.05, 0.04, 0.03]), MODEL.neutral[MODEL.vertices_of("face")]
    spot = face[np.argmin(away(face, (MARKS[2] + MARKS[454]) / 2 - [0, 0.012, 0]))]
    grown = grow_beard(MODEL, MODEL.neutral, skin(dark, spot), TONE)
    assert grown is not None and away(grown.vertices, MARKS[152]).min() < 0.01
    assert away(grown.vertices, spot).min() > 0.015


def test_it_goes_with_the_jaw(beard: Beard) -> None:
    jaw = np.where(MODEL.neutral[:, 1:2] < MARKS[2, 1] - 0.02, [[0.0, -0.01, 0.0]], 0.0)
    piece = beard.piece(MODEL, np.zeros_like(MODEL.neutral), {"jaw": jaw})
    low = piece.vertices[:, 1] < MARKS[152, 1]
    assert low.any()
    np.testing.assert_allclose(piece.offsets[0][low, 1], -0.01, atol=1e-6)
    nothing = np.zeros(len(MODEL.neutral))
    head = assemble(MODEL, MODEL.neutral, {"jaw": jaw}, nothing, {}, None, piece)
    assert head.materials[-1] == BEARD and head.parts[-1] == HAIR and BEARD not in head.alpha
    assert (head.material[-1], head.part[-1]) == (len(head.materials) - 1, len(head.parts) - 1)


def test_laid_over_its_photos_again_it_hangs_on_the_face_and_hair_on_the_scalp(beard: Beard) -> None:
    points = np.concatenate([MODEL.neutral[MODEL.scalp > 0.9][:5] * 1.1, beard.vertices[:50]])
    on = attach_hair(MODEL, MODEL.neutral, points, np.arange(len(points)) >= 5).corners
    assert (MODEL.scalp[on[:5]] > 0.5).all() and MODEL.vertices_of("face")[on[5:]].all()
