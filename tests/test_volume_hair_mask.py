# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair told from skin and clothes in painted pictures of a made-up head."""

import cv2
import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.volume.hair_mask import hair_mask
from tests.test_volume_hair import MODEL, SIZE, Shown, camera, cap, curtains, head_seen, overlap, photo, places

SKIN, DARK, GREY, BLOND = (205, 160, 135), (45, 35, 30), (150, 150, 150), (190, 160, 90)
RED, NAVY, WHITE = (150, 40, 40), (45, 38, 40), (225, 225, 225)


def paint(hair: Array, colour: tuple[int, ...], clothes: tuple[int, ...]) -> Shown:
    """The head from the front with a neck and dressed shoulders, in an uneven light with some noise."""
    view = camera()
    head, _ = head_seen(view)
    x, y = places(view)
    neck = (np.abs(x) < 0.05) & (y < -0.06) & (y > -0.15)
    shoulders = (np.abs(x) < 0.22) & (y < -0.14 - 0.15 * np.abs(x))
    shown = photo(view, hair)
    picture = np.full((SIZE, SIZE, 3), (90, 140, 170), np.float64)
    for region, fill in ((neck, SKIN), (shoulders, clothes), (head, SKIN), (hair, colour)):
        picture[region] = fill
    picture *= (1.0 + 0.6 * x)[..., None]
    picture += np.random.default_rng(0).normal(size=picture.shape) * 6
    person = cv2.GaussianBlur((head | hair | neck | shoulders).astype(np.float32), (0, 0), 1.0)
    return Shown(picture.clip(0, 255).astype(np.uint8), shown.inside, person, shown.landmarks)


def find(shown: Shown) -> Array:
    out: Array = hair_mask(shown, MODEL, MODEL.neutral.astype(np.float64), camera())
    assert out.shape == (SIZE, SIZE) and out.min() >= 0 and out.max() <= 1
    return out > 0.5


@pytest.mark.parametrize("colour", [DARK, GREY, BLOND])
def test_short_hair_of_any_colour(colour: tuple[int, ...]) -> None:
    hair = cap(camera(), 0.02)
    assert overlap(find(paint(hair, colour, RED)), hair) > 0.9


def test_long_hair_goes_on_over_the_shoulders() -> None:
    hair = curtains(camera())
    found = find(paint(hair, DARK, WHITE))
    assert overlap(found, hair) > 0.85
    _, y = places(camera())
    assert found[hair & (y < -0.1)].mean() > 0.8


def test_clothes_of_the_colour_of_hair_are_not_hair() -> None:
    hair = cap(camera(), 0.02)
    found = find(paint(hair, DARK, NAVY))
    _, y = places(camera())
    assert overlap(found, hair) > 0.85 and found[y < -0.14].mean() < 0.005


@pytest.mark.parametrize(("width", "top", "share"), [(0.012, -0.03, 0.0), (0.04, 0.06, 1.0)])
def test_beside_the_jaw_is_hair_only_where_a_curtain_comes_down(width: float, top: float, share: float) -> None:
    x, y = places(camera())
    beside = (np.abs(x) > 0.07) & (np.abs(x) < 0.07 + width) & (y > -0.14)
    found = find(paint(cap(camera(), 0.02) | (beside & (y < top)), DARK, RED))
    assert abs(found[beside & (y < -0.04)].mean() - share) < 0.2


def test_a_curtain_may_be_narrow_where_hair_hangs_on_the_other_side() -> None:
    """Seen: a woman with long hair on her left and none on her right, where a head that is turned shows less of it."""
    x, y = places(camera())
    low = (y > -0.14) & (y < 0.06)
    narrow, wide = low & (x > 0.07) & (x < 0.085), low & (x < -0.07) & (x > -0.12)
    found = find(paint(cap(camera(), 0.02) | narrow | wide, DARK, RED))
    assert found[narrow & (y < -0.04)].mean() > 0.8
    assert not find(paint(cap(camera(), 0.02) | narrow, DARK, RED))[narrow & (y < -0.1)].any()


def test_a_fringe_is_hair_and_the_forehead_above_none() -> None:
    x, y = places(camera())
    hair = cap(camera(), 0.02) | ((np.abs(x) < 0.055) & (y > 0.05) & head_seen(camera())[0])
    assert overlap(find(paint(hair, DARK, RED)), hair) > 0.9


def test_a_fringe_may_cover_a_brow_and_a_brow_beside_it_is_none() -> None:
    x, y = places(camera())
    brows = MODEL.landmarks(MODEL.neutral)[[105, 334]]
    covered, bare = brows[brows[:, 0].argsort()[::-1]]
    hair = cap(camera(), 0.02) | (head_seen(camera())[0] & (x > 0.012) & (y > covered[1] - 0.03))
    brow = (np.abs(x - bare[0]) < 0.016) & (np.abs(y - bare[1]) < 0.004)
    found = find(paint(hair | brow, DARK, RED))
    under = hair & (np.hypot(x - covered[0], y - covered[1]) < 0.006)
    assert under.sum() > 20 and found[under].mean() > 0.8
    assert found[brow].mean() < 0.1


def test_hair_in_the_shade_of_hair_is_hair() -> None:
    """Seen: a bite before an ear, where blond hair is nearly black, over a black collar."""
    x, y = places(camera())
    head = head_seen(camera())[0]
    hair = cap(camera(), 0.02) | (head & (x > -0.055) & (x < 0.015) & (y > 0.06))
    shade = head & (x > 0.015) & (x < 0.05) & (y > 0.07) & (y < 0.09) & ~hair
    shown = paint(hair | shade, BLOND, RED)
    dark = np.array([42, 34, 20]) + 4 * np.random.default_rng(1).normal(size=(SIZE, SIZE, 3))
    for region in (shade, (np.abs(x) < 0.05) & (y < -0.075) & (y > -0.15)):
        shown.picture[region] = dark[region].clip(0, 255)
    assert find(shown)[shade].mean() > 0.7


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (0.8, 0.7, 0.5), (1.15, 1.2, 1.25)])
def test_a_bald_head_has_none(tint: tuple[float, ...]) -> None:
    """Seen: a crown in another light than the cheeks, painted as hair. It has no hairline."""
    shown = paint(np.zeros((SIZE, SIZE), bool), DARK, RED)
    _, y = places(camera())
    crown = np.clip((y - 0.02) / 0.1, 0.0, 1.0) * head_seen(camera())[0]
    shown.picture[:] = (shown.picture * (1.0 + crown[..., None] * (np.array(tint) - 1.0))).clip(0, 255)
    assert not find(shown).any()


def cut(shown: Shown, top: float) -> Shown:
    """The picture as far as a height of the head in metres; its border goes on beyond."""
    _, y = places(camera())
    inside = shown.inside & (y < top)
    last = int(np.flatnonzero(inside.any(1))[0])
    picture, person = shown.picture.copy(), shown.person.copy()
    picture[:last], person[:last] = picture[last], person[last]
    return Shown(picture, inside, person, shown.landmarks)


def test_a_picture_that_ends_at_the_forehead_makes_nobody_bald() -> None:
    """Seen: nothing of the scalp was in it, so nothing grew there, and a fringe was painted on the skin."""
    x, y = places(camera())
    fringe = (np.abs(x) < 0.075) & (y > 0.042) & head_seen(camera())[0]
    found = find(cut(paint(fringe, DARK, RED), 0.065))
    assert found[fringe & (y < 0.063)].mean() > 0.7
    bare = find(cut(paint(np.zeros((SIZE, SIZE), bool), DARK, RED), 0.065))
    assert bare[head_seen(camera())[0]].mean() < 0.02


def test_smooth_dark_hair_down_to_the_brows_has_no_hairline_and_is_hair() -> None:
    """Seen: a drawn person with a fringe over an eye, who came out bald."""
    x, y = places(camera())
    hair = head_seen(camera())[0] & (y > 0.045)
    assert overlap(find(paint(hair, DARK, RED)), hair) > 0.8


def test_a_picture_without_the_person_has_none() -> None:
    shown = paint(cap(camera(), 0.02), DARK, RED)
    empty = Shown(shown.picture, shown.inside, np.zeros((SIZE, SIZE), np.float32), shown.landmarks)
    assert not find(empty).any()


def test_a_shoulder_raised_to_the_mouth_is_no_hair_that_hangs() -> None:
    """It has the colour of hair, and begins with its full width, with a gap below the hair over the ear."""
    view = camera()
    x, y = places(view)
    hair = cap(view, 0.02)
    shown = paint(hair, DARK, NAVY)
    shoulder = (x > 0.05) & (x < 0.2) & (y < -0.045) & ~head_seen(view)[0]
    shown.picture[shoulder] = (NAVY + np.random.default_rng(1).normal(size=(int(shoulder.sum()), 3)) * 6).clip(0, 255)
    shown.person[shoulder] = 1.0
    found = find(shown)
    assert overlap(found, hair) > 0.85 and found[shoulder].mean() < 0.02
