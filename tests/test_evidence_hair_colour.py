# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair takes the colours that it can have, and dye stays; its body is told from its sheen."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from idto3d.evidence.hair_colour import HairColour, HairPhoto, hair_colour, natural, paint_hair
from idto3d.fit.camera import PhotoCamera
from idto3d.fit.light import LUMINANCE
from idto3d.fit.projection import Projected
from idto3d.mesh.texels import make_texels


@pytest.mark.parametrize(
    ("seen", "hue"),
    [
        ((20.0, 6.0, -8.0), (0.0, 0.0)),  # black under a blue sky
        ((75.0, 10.0, 9.0), (1.6, 1.6)),  # white beside red cheeks
        ((35.0, 12.0, 15.0), (12.0, 15.0)),  # auburn
        ((65.0, 5.0, 25.0), (5.0, 25.0)),  # blond
        ((18.0, -2.0, 11.0), (3.9, 11.0)),  # brown under a lamp's green
        ((50.0, 60.0, -10.0), (60.0, -10.0)),  # pink dye
    ],
)
def test_hues(seen: tuple[float, float, float], hue: tuple[float, float]) -> None:
    out = natural(np.array(seen))
    assert out[0] == min(seen[0], 60 + 0.55 * (seen[0] - 60))
    np.testing.assert_allclose(out[1:], hue, atol=1.6)


def photo(picture: np.ndarray) -> Projected:
    """Of light of which faces send back half."""
    seen: Any = SimpleNamespace(
        linear=picture, shade=np.full((4, 3), 0.5), facing=np.ones(4), tone=np.array([0.4, 0.25, 0.18])
    )
    return cast(Projected, seen)


def test_black_hair_with_a_sheen_is_black() -> None:
    picture = np.full((64, 64, 3), 0.01, np.float32)
    picture[::2, ::2] = 0.25
    mask = np.ones((64, 64), np.float32)
    colour = hair_colour([(photo(picture), mask)], [False])
    np.testing.assert_allclose(colour.tone, 0.02, atol=0.004)
    sheen = colour.pictures[0][::2, ::2].mean()
    assert 0.03 < sheen < 0.3  # of 0.5: it is still seen


@pytest.mark.parametrize(
    ("darkest", "middle", "of"),
    [
        ((0.03, 0.03, 0.03), (0.1, 0.1, 0.1), "black"),  # all but its darkest has light on it
        ((0.12, 0.12, 0.12), (0.4, 0.4, 0.4), "grey"),
        ((0.03, 0.02, 0.012), (0.1, 0.06, 0.03), "brown"),
    ],
)
def test_hair_too_light_for_black_and_too_dark_for_grey_is_black_with_light_on_it(
    darkest: tuple[float, ...], middle: tuple[float, ...], of: str
) -> None:
    picture = np.full((64, 64, 3), np.multiply(middle, 0.5), np.float32)
    picture[:10] = np.multiply(darkest, 0.5)  # a sixth of it
    colour = hair_colour([(photo(picture), np.ones((64, 64), np.float32))], [False])
    expected = darkest if of == "black" else middle
    np.testing.assert_allclose(colour.tone, expected, rtol=0.25)
    kept = float(colour.pictures[0][32:].mean() / colour.pictures[0][:10].mean())
    assert kept < 0.6 * np.mean(middle) / np.mean(darkest) if of == "black" else kept > 1.0


def test_what_no_photo_shows_is_dark_as_hair_mostly_is() -> None:
    colour = hair_colour([(photo(np.zeros((8, 8, 3), np.float32)), np.zeros((8, 8), np.float32))], [False])
    assert 0.0 < colour.tone.max() < 0.2


def test_hair_worn_otherwise_does_not_colour_this_one() -> None:
    blond, mask = np.full((64, 64, 3), (0.3, 0.2, 0.1), np.float32), np.ones((64, 64), np.float32)
    brown = np.full_like(blond, (0.05, 0.03, 0.015))
    photos = [(photo(blond), mask), (photo(brown), mask)]
    colour = hair_colour(photos, [False, False], worn=(1,))
    np.testing.assert_allclose(colour.tone, hair_colour(photos[1:], [False]).tone)
    assert colour.photos == (1,) and len(colour.pictures) == 2
    assert hair_colour(photos, [False, False]).tone.max() > 1.2 * colour.tone.max()


def test_beside_a_photo_with_colours_one_without_tells_their_lightness_alone() -> None:
    red, mask = np.full((64, 64, 3), (0.1, 0.04, 0.015), np.float32), np.ones((64, 64), np.float32)
    grey = np.full_like(red, red[0, 0] @ LUMINANCE)
    alone = hair_colour([(photo(red), mask)], [False])
    both = hair_colour([(photo(red), mask), (photo(grey), mask)], [False, True])
    np.testing.assert_allclose(both.tone, alone.tone)
    np.testing.assert_allclose(both.pictures[1], both.pictures[0], rtol=0.15)
    without = hair_colour([(photo(red), mask), (photo(grey), mask)], [True, True]).tone  # if all are said to be grey
    assert without[0] / without[2] < 0.8 * alone.tone[0] / alone.tone[2]
    # if the other shows no hair, what there is counts
    unseen = hair_colour([(photo(red), 0 * mask), (photo(grey), mask)], [False, True]).tone
    np.testing.assert_allclose(unseen, hair_colour([(photo(grey), mask)], [True]).tone)


def test_strands_that_no_photo_shows_have_the_contrast_and_the_hues_of_those_that_do() -> None:
    """One in eight is lighter and redder by a quarter: so is one in eight of the strands that are drawn."""
    rng = np.random.default_rng(2)
    light = rng.random((128, 128)) < 0.125
    picture = np.full((128, 128, 3), (0.1, 0.06, 0.03), np.float32)
    picture[light] *= np.array([1.5, 1.3, 1.2], np.float32)
    colour = hair_colour([(photo(picture), np.ones((128, 128), np.float32))], [False])
    drawn = colour.strands(rng.normal(size=200_000))
    ratio = drawn / np.median(drawn, 0)
    lighter = ratio[:, 0] > 1.2
    assert 0.09 < lighter.mean() < 0.2
    assert 1.3 < ratio[lighter, 0].mean() < 1.65 and ratio[lighter, 0].mean() > ratio[lighter, 2].mean()
    assert 0.05 < np.log(drawn).mean(1).std() < 0.2


def test_strands_of_grey_hair_differ_in_lightness_alone() -> None:
    """Seen: brown streaks in white hair, from skin that showed through. In red hair hues stay."""
    rng = np.random.default_rng(2)
    for tone, kept in (((0.4, 0.4, 0.4), False), ((0.2, 0.08, 0.03), True)):
        picture = np.full((64, 64, 3), tone, np.float32)
        picture[rng.random((64, 64)) < 0.2] *= np.array([0.8, 0.7, 0.5], np.float32)
        shades = hair_colour([(photo(picture), np.ones((64, 64), np.float32))], [False]).shades
        assert (np.ptp(shades, axis=1).max() > 0.05) == kept


def test_the_tone_has_the_hue_of_all_hair_and_not_the_stronger_one_of_its_middle() -> None:
    picture = np.full((90, 90, 3), 0.2, np.float32)
    picture[::3], picture[1::3] = 0.05, (0.1, 0.07, 0.03)
    tone = hair_colour([(photo(picture), np.ones((90, 90), np.float32))], [False]).tone
    assert tone[0] / tone[2] < 2.0  # of 3.3


SQUARE = np.array([[-0.1, -0.1, 0.0], [0.1, -0.1, 0.0], [0.1, 0.1, 0.0], [-0.1, 0.1, 0.0]])
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])


def shot(colour: float, hair: float, right: int = 64, light: tuple[float, ...] = (1.0, 1.0, 1.0)) -> HairPhoto:
    """A square of hair before a camera, in a light that is grey elsewhere; the photo ends at the column `right`."""
    camera = PhotoCamera(np.eye(3), np.zeros(3), 200.0, np.full(2, 31.5), 1.0)
    bands = np.zeros((9, 3))
    bands[0] = light
    laid = cast(Projected, SimpleNamespace(linear=np.ones((64, 64, 3), np.float32), light=bands,
                                           shade=np.ones((4, 3)), facing=np.ones(4)))  # fmt: skip
    inside = np.broadcast_to(np.arange(64) < right, (64, 64)).astype(np.float32)
    picture, mask = np.full((64, 64, 3), colour, np.float32), np.full((64, 64), hair, np.float32)
    return HairPhoto(camera, laid, SQUARE, mask, picture, SQUARE - [0.0, 0.0, 0.05], inside)


def painted(*photos: HairPhoto) -> Any:
    texels = make_texels(SQUARE[:, :2] / 0.2 + 0.5, TRIANGLES, TRIANGLES, 32)
    tone = HairColour(np.full(3, 0.1), (), np.zeros((16, 3), np.float32), ())
    return paint_hair(texels, TRIANGLES, photos, TRIANGLES, tone, np.zeros((32, 32)))


def test_a_coloured_light_does_not_tint_the_hair_by_its_opposite() -> None:
    """Seen: black hair, blue where the light that the face suggests is red."""
    red, grey = (painted(shot(0.2, 1.0, light=light)).maps[16, 16, :3] for light in ((1.2, 0.9, 0.6), (0.9, 0.9, 0.9)))
    assert np.ptp(red) < 0.01
    np.testing.assert_allclose(red, grey, atol=0.02)


def test_beyond_its_edge_a_photo_has_no_opinion_and_the_last_lies_uppermost() -> None:
    """One photo shows all of the square, another, without hair, only its left half."""
    cropped = painted(shot(0.2, 1.0), shot(0.2, 0.0, right=32))
    assert abs(cropped.cover[16, 4:12] - 0.5).max() < 0.05 and cropped.cover[16, 20:28].min() > 0.95
    light_last, dark_last = (painted(*order).maps[16, 16, 0] for order in (
        (shot(0.05, 1.0), shot(0.4, 1.0)), (shot(0.4, 1.0), shot(0.05, 1.0))))  # fmt: skip
    assert light_last > dark_last + 0.2
