# SPDX-License-Identifier: GPL-3.0-or-later
"""Skin told from light and from folds; skin where none was seen; its relief."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from idto3d.arrays import Array
from idto3d.evidence.complexion import PLAIN, detail_of, lips_at, lips_colour, unseen_skin
from idto3d.evidence.crease_mask import crease_mask
from idto3d.evidence.delight import Shaded, lines, shaded, without_light
from idto3d.evidence.gloss import dulled, gloss_of
from idto3d.fit.light import coat, under_coat
from idto3d.fit.tone import (
    AXES,
    CURVE,
    EXPOSED,
    LIGHTS,
    OFF_CURVE,
    USUAL_FACING,
    WHITE_MEAN,
    Reading,
    White,
    brighter_white,
    likely_tone,
)
from idto3d.headmodel import HeadModel
from idto3d.mesh.solid_noise import solid_noise
from idto3d.mesh.texels import make_texels
from idto3d.training.tone_prior import moments
from tests.tiny_head import tiny_head_model

TONE = np.array([0.5, 0.27, 0.17])
S = 256
ROW, COLUMN = np.mgrid[:S, :S]
NO_LIPS = np.zeros(1), TONE


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return tiny_head_model(48, 32)


# ---------------------------------------------------------------- tone


def reading(skin: Array, white: float = 0.62, opening: float = 1.8, grey: bool = False) -> Reading:
    return Reading(skin, White(white * np.array([1.1, 0.95, 0.87]), opening, 10.0), grey)


def test_darker_and_redder_skin_is_darker_and_whites_tell_the_exposure() -> None:
    pale, dark = likely_tone([reading(TONE)]), likely_tone([reading(TONE * [0.3, 0.2, 0.15])])
    assert dark.mean() < 0.4 * pale.mean()
    assert dark[0] / dark[1] > pale[0] / pale[1]  # melanin takes blue first
    # the same brightness beside brighter whites is darker skin
    assert likely_tone([reading(TONE, white=1.0)]).mean() < 0.95 * pale.mean()
    np.testing.assert_allclose(pale, TONE, rtol=0.35)


def test_a_dark_picture_of_pale_skin_is_told_from_dark_skin_by_the_eyes() -> None:
    skin = TONE * 0.22
    backlit, dark = likely_tone([reading(skin, white=0.13)]), likely_tone([reading(skin, white=0.5)])
    assert backlit.mean() > 2 * dark.mean()
    # lids that all but close shade the white, and it says less
    assert dark.mean() < likely_tone([reading(skin, white=0.13, opening=1.2)]).mean() < backlit.mean()


@pytest.mark.parametrize("stops", [1, 2])
def test_a_photo_that_was_exposed_too_little_shows_the_same_skin(stops: int) -> None:
    for skin in (TONE, 0.3 * TONE):
        usual, dim = replace(reading(skin), brightest=EXPOSED), 0.5**stops
        assert usual.white is not None
        white = replace(usual.white, colour=usual.white.colour * dim)
        under = replace(usual, skin=skin * dim, white=white, brightest=EXPOSED * dim)
        np.testing.assert_allclose(likely_tone([under]), likely_tone([usual]), rtol=1e-6)
        # where something else is bright, it is the face that is dark, be it by its light or by itself
        assert likely_tone([replace(under, brightest=1.0)]).mean() < 0.95 * likely_tone([usual]).mean()


def test_a_small_backlit_photo_says_little_of_the_skin_beside_a_clear_one() -> None:
    clear = reading(TONE)
    assert clear.white is not None
    backlit = Reading(0.15 * TONE, replace(clear.white, colour=0.15 * clear.white.colour, radius=3.0), False)
    alone, both = likely_tone([clear]), likely_tone([clear, backlit])
    assert likely_tone([backlit]).mean() < 0.7 * alone.mean()
    np.testing.assert_allclose(both, alone, rtol=0.15)  # half way, by logarithms, would be .5
    np.testing.assert_allclose(likely_tone([clear, clear, backlit]), alone, rtol=0.08)


def test_dark_skin_whose_eyes_look_down_is_not_taken_for_pale_skin_in_the_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lids' and lashes' colour then stands for the white's."""
    lids = Reading(np.array([0.083, 0.049, 0.041]), White(np.array([0.044, 0.052, 0.049]), 1.6, 7.0), False)
    tone = likely_tone([lids])
    monkeypatch.setattr("idto3d.fit.tone.LOST_SHARE", 1e-6)
    assert tone.mean() < 0.6 * likely_tone([lids]).mean()


def test_the_coat_counts_for_more_on_dark_skin() -> None:
    """What a coat adds is white, and no tone makes up for it: skin of the usual curve under a usual light is found."""
    for level in (-1.2, -2.0, -2.7):
        tone = np.exp(np.linalg.solve(AXES, CURVE[:, 0] + level * CURVE[:, 1]))
        reflected = tone / under_coat(tone, np.array([USUAL_FACING]))[0]
        light = np.exp(LIGHTS[0].mean)
        white = np.exp(np.linalg.solve(AXES, WHITE_MEAN))
        found = likely_tone([Reading(light * reflected, White(light * white, 1.8, 10.0), False)])
        np.testing.assert_allclose(np.log(found), np.log(tone), atol=0.12)


def test_what_is_not_known_counts_as_usual() -> None:
    shut = likely_tone([reading(TONE, white=0.01, opening=0.5)])
    np.testing.assert_allclose(shut, likely_tone([Reading(TONE, None, False)]))
    grey = likely_tone([Reading(np.full(3, TONE.mean()), None, True)])
    assert np.isfinite(grey).all() and grey[0] > grey[1] > grey[2]  # a grey picture's skin has skin's hue


def test_no_skin_is_taken_for_paler_or_darker_than_skin_is() -> None:
    bright, dim = (likely_tone([Reading(np.full(3, light), None, True)]) for light in (1.0, 0.001))
    assert bright.mean() < 0.7 and dim.mean() > 0.015


def test_the_moments_are_those_of_the_model() -> None:
    rng = np.random.default_rng(0)
    level = rng.uniform(-3, -0.5, 4000)
    true = CURVE[:, 0] + level[:, None] * CURVE[:, 1] + rng.normal(size=(4000, 3)) * OFF_CURVE
    light = rng.normal(size=(4000, 3)) * [0.3, 0.1, 0.1] - [0.2, 0, 0]
    whites = WHITE_MEAN + light
    whites[:100] = np.nan
    found = moments(true + light, true, whites, np.full(4000, 1.8))
    np.testing.assert_allclose(found.curve, CURVE, atol=0.02)
    np.testing.assert_allclose(found.off_curve, OFF_CURVE, atol=0.01)
    np.testing.assert_allclose(found.light, [[-0.2, 0, 0], [0.3, 0.1, 0.1]], atol=0.02)
    np.testing.assert_allclose(found.white, np.array([WHITE_MEAN, np.zeros(3)]), atol=1e-6)


def test_the_brighter_eye_tells_the_white() -> None:
    landmarks = np.zeros((478, 2))
    openings = []
    linear = np.full((100, 200, 3), 0.1, np.float32)
    for first, x, white in ((468, 50, 0.3), (473, 150, 0.6)):
        landmarks[first] = x, 50
        landmarks[first + 1 : first + 5] = np.array([[x + 8, 50], [x, 42], [x - 8, 50], [x, 58]])
        opening = np.zeros((100, 200), bool)
        opening[44:57, x - 22 : x + 22] = True
        linear[opening] = white
        linear[44:57, x - 6 : x + 7] = 0.9  # an iris that shines is no white
        openings.append(opening)
    pixel, shade = np.array([[50.0, 50], [150, 50]]), np.array([[1.0, 1, 1], [2, 2, 2]])
    eye = brighter_white(landmarks, openings, linear, pixel, shade, 1.0)
    assert eye is not None and eye.radius == pytest.approx(8)
    np.testing.assert_allclose(eye.colour, 0.3, rtol=1e-5)
    assert eye.opening == pytest.approx(14 / 8, abs=0.1)
    assert brighter_white(landmarks, openings, linear, np.zeros((0, 2)), np.zeros((0, 3)), 1.0) is None
    # pixels that were made by enlarging show nothing more
    enlarged = brighter_white(landmarks, openings, linear, pixel, shade, 4.0)
    assert enlarged is not None and enlarged.radius == pytest.approx(2)
    np.testing.assert_allclose(enlarged.opening, eye.opening)


def test_the_coat_comes_off() -> None:
    facing = np.array([1.0, 0.5])
    mirrored = coat(facing)
    assert 0.015 < mirrored[0] < 0.04 < mirrored[1] < 0.12
    seen = (1 - mirrored[:, None]) * TONE + mirrored[:, None]
    np.testing.assert_allclose(seen * under_coat(TONE, facing), np.tile(TONE, (2, 1)), rtol=1e-5)


# ---------------------------------------------------------------- light and folds


def left_of(
    change: Array, folded: Array | float = 0.0, hue: Array | None = None, other: Array | None = None, neck: float = 0.0
) -> Array:
    """Colour over the tone (S,S,3), in logarithms, of what is left of a change (S,S) of it; other: of the other side,
    none if not given."""
    ones = np.ones((S, S), np.float32)

    def side(change: Array) -> Shaded:
        colour = TONE * np.exp(change[..., None] * (np.ones(3) if hue is None else hue))
        return shaded(colour.astype(np.float32), ones, TONE, 0 * ones, 0 * ones)

    lent = side(0 * change if other is None else other)
    return np.log(without_light(side(change), lent, TONE, folded * ones, neck * ones)[0] / TONE)


def split(change: Array, folded: float = 0.0, hue: Array | None = None, other: Array | None = None) -> Array:
    """The lightness (S,S) of it."""
    return left_of(change, folded, hue, other).mean(2)


def test_a_wide_shadow_goes_with_its_edge_and_a_mole_stays() -> None:
    shadow = np.where(COLUMN < S // 2, -0.8, 0.0)
    left = split(shadow)
    assert np.abs(left[:, : S // 2 - 20]).max() < 0.3 and np.abs(left[:, S // 2 + 20 :]).max() < 0.1
    assert np.abs(left).max() < 0.5  # no dark line is left of the edge either
    mole = np.where(np.hypot(ROW - 128, COLUMN - 128) < 3, -0.8, 0.0)
    assert split(mole)[128, 128] < -0.4


def test_what_both_sides_have_is_the_faces_own() -> None:
    dark = np.where(ROW > S // 2, -0.5, 0.0)
    assert split(dark, other=dark)[-40:, 128].mean() < -0.4
    assert split(dark, other=-dark)[-40:, 128].mean() > -0.2
    assert -0.36 < split(dark, other=0.5 * dark)[-40:, 128].mean() < -0.2


def test_a_patch_that_one_side_alone_has_fades_and_one_that_both_have_stays() -> None:
    """Half a centimetre of light: too narrow for the wide part."""
    for change in (0.5, -0.6):
        patch = np.where(np.hypot(ROW - 128, COLUMN - 128) < 7, change, 0.0)
        alone, alike = (split(patch, other=other)[128, 128] for other in (0 * patch, patch))
        assert abs(alone) < 0.62 * abs(alike)
        # the face's sides need not lie on each other to the millimetre
        assert split(patch, other=np.roll(patch, 3, 1))[128, 128] == pytest.approx(alike, abs=0.03)


def test_lips_lose_their_gloss_and_keep_their_red() -> None:
    ones, lips = np.ones((S, S), np.float32), (np.abs(ROW - 128) < 30).astype(np.float32)
    red = TONE * np.exp([-0.2, -0.7, -0.6])
    glossy = (lips > 0) & (np.abs(ROW - 140) < 4)
    colour = np.where(glossy[..., None], 0.5 * red + 0.35, np.where(lips[..., None] > 0, red, TONE))
    side = shaded(colour.astype(np.float32), ones, TONE, lips, 0 * ones)
    out, _ = without_light(side, side, TONE, 0 * ones, 0 * ones)
    np.testing.assert_allclose(out[110, 128], red, rtol=0.05)
    assert out[140, 128].mean() < 0.65 * colour[140, 128].mean()
    was, now = (c[0] / c[1] for c in (colour[140, 128], out[140, 128]))
    assert now > was + 0.4 * (red[0] / red[1] - was)


def test_a_beard_is_no_shadow() -> None:
    """Of the same darkness: skin's hue goes, hair's stays."""
    below = np.where(ROW > S // 2, -0.5, 0.0)
    grey = np.array([1.25, 1.0, 0.75])
    assert split(below, hue=grey)[-40:, 128].mean() < -0.35
    assert split(below)[-40:, 128].mean() > -0.2


def test_black_strands_in_warm_light_are_hair_and_stay_black() -> None:
    """As red as skin, but dark and uneven, which no shadow is; nothing of what is darker than skin is cut off."""
    below = np.where(ROW > S // 2, -2.2, 0.0)
    strands = np.where((COLUMN % 4 < 2) & (below < 0), 0.5, -0.5) * (below < 0)
    hair, shadow = split(below + strands)[-40:, 60:196], split(below)[-40:, 60:196]
    np.testing.assert_allclose(hair.mean(), -2.2, atol=0.1)
    np.testing.assert_allclose(hair.std(), 0.5, rtol=0.1)
    assert shadow.mean() > -1.3
    # where an expression folds the skin, the same is a fold
    assert split(below + strands, 1.0)[-40:, 60:196].mean() > hair.mean() + 0.5


def test_the_chins_shadow_is_no_skin_though_it_has_two_sides() -> None:
    dark = np.where(ROW > S // 2, -0.5, 0.0)
    assert left_of(dark, other=dark, neck=1.0).mean(2)[-40:, 128].mean() > -0.2


def test_what_skin_reflects_is_not_its_hue() -> None:
    """A wide red cast on one side goes but for a rest, on both it is limited; no skin is green."""
    here = np.where(ROW > S // 2, 0.4, 0.0)
    red, green = np.array([1.0, -0.5, -0.5]), np.array([-0.5, 1.0, -0.5])
    one, both = (left_of(here, hue=red, other=other)[-40:, 128, 0].mean() for other in (None, here))
    assert 0.05 < one < both < 0.2
    assert left_of(here, hue=green, other=here)[-40:, 128, 1].max() < 0.06
    slight = left_of(0.2 * here, hue=red, other=0.2 * here)[-40:, 128, 0].mean()
    assert slight == pytest.approx(0.8 * 0.08, rel=0.2)


def test_a_fold_of_the_expression_goes_where_the_expression_is() -> None:
    fold = -0.3 * np.exp(-(((COLUMN - 128) / 2.0) ** 2))
    kept, gone = split(fold)[128, 128], split(fold, 1.0)[128, 128]
    assert kept < -0.12 and gone > 0.5 * kept
    ones = np.ones((S, S), np.float32)
    side = shaded((TONE * np.exp(fold)[..., None]).astype(np.float32), ones, TONE, 0 * ones, 0 * ones)
    _, folds = without_light(side, side, TONE, ones, 0 * ones)
    assert folds[128, 128] == pytest.approx(gone - kept, rel=0.2) and folds[128, 160] < 0.01  # and is not lost
    assert 0 < split(-fold, 1.0)[128, 128] < 0.7 * split(-fold)[128, 128]  # so does the rim beside it
    mole = np.where(np.hypot(ROW - 128, COLUMN - 128) < 1.2, -0.8, 0.0)
    assert split(mole, 1.0)[128, 128] < 0.6 * split(mole)[128, 128]


def test_a_wide_fold_of_the_expression_is_no_skin_though_both_sides_have_it() -> None:
    dark = np.where(ROW > S // 2, -0.5, 0.0)
    kept, gone = (split(dark, folded, other=dark)[-40:, 128].mean() for folded in (0.0, 1.0))
    assert kept < -0.4 and gone > 0.4 * kept
    light = split(-dark, 1.0, other=-dark)[-40:, 128].mean()
    assert light == pytest.approx(split(-dark, other=-dark)[-40:, 128].mean(), abs=0.03)


def test_a_fold_with_a_sharp_line_in_it_is_there_at_rest_too() -> None:
    wide, line = -0.3 * np.exp(-(((COLUMN - 128) / 4.0) ** 2)), np.where(COLUMN == 128, -0.4, 0.0)
    soft, lined = (split(fold, 1.0)[128, 130] / split(fold)[128, 130] for fold in (wide, wide + line))
    assert soft < 0.4 and lined > soft + 0.04


def test_lines_are_long_and_darker_than_both_sides() -> None:
    detail = np.zeros((S, S), np.float32)
    detail[20:60, 100] = -0.3
    detail[100:102, 100:102] = -0.3
    detail[150:, :] = -0.3
    found = lines(detail)
    np.testing.assert_allclose(found[25:55, 100], 0.3, atol=0.1)
    assert found[90:].max() < 0.02 and found.min() >= 0


def test_only_moved_skin_is_creased(model: HeadModel) -> None:
    rest = model.neutral.astype(np.float64)
    np.testing.assert_allclose(crease_mask(model, rest, rest), 0, atol=1e-6)
    posed = rest.copy()
    here = np.exp(-((rest - [0.03, -0.03, 0.08]) ** 2).sum(1) / 0.02**2)
    posed[:, 0] -= 0.5 * here * (rest[:, 0] - 0.03)  # squeezed towards the middle of a cheek
    found = crease_mask(model, rest, posed)
    face = model.vertices_of("face")
    assert found[face & (here > 0.7)].mean() > 0.3 and found[rest[:, 0] < -0.02].max() < 0.05
    assert found[~face].max() == 0


# ---------------------------------------------------------------- unseen skin


def test_lips_are_inside_their_rim_and_where_unseen_of_the_colour_that_is_seen(model: HeadModel) -> None:
    rows = model.material[model.triangle_quad] == 0
    at = make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], 256)
    lips = lips_at(model, at)
    places = np.einsum("kjc,kj->kc", model.neutral[model.landmark_triangle], model.landmark_barycentric)
    near = cKDTree(at.at(model.neutral)).query(places)[1]
    assert lips[near[[13, 14]]].min() > 0.8 and lips[near[[4, 152, 205]]].max() < 0.01
    red = np.array([0.3, 0.08, 0.06])
    colour = np.where(at.image(lips)[..., None] > 0.5, red, TONE)
    seen = np.ones((256, 256))
    np.testing.assert_allclose(lips_colour([(colour, seen)], at.image(lips), TONE), red)
    unseen = lips_colour([(colour, 0 * seen)], at.image(lips), TONE)
    assert unseen[0] / unseen[1] > 1.1 * TONE[0] / TONE[1]
    skin = unseen_skin(model, at, TONE, np.zeros(3), (lips, red))
    np.testing.assert_allclose(skin[lips > 0.99].mean(0), red, rtol=0.1)


def test_unseen_skin_has_the_tone_and_the_detail_that_was_asked_for(model: HeadModel) -> None:
    rows = model.material[model.triangle_quad] == 0
    at = make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], 512)
    skins = [unseen_skin(model, at, TONE, np.array(PLAIN) * k, NO_LIPS) for k in (0.0, 3.0)]
    plain, rough = (np.log(skin / TONE).mean(1) for skin in skins)
    assert np.abs(plain).mean() < 0.15
    finest = rough - plain
    np.testing.assert_allclose(finest.std(), 3 * np.hypot.reduce(PLAIN), rtol=0.3)
    red, green, blue = (np.log(skins[1]) - np.log(skins[0])).std(0)
    assert red < 0.7 * green < 0.7 * blue, "skin is spotted with melanin, not with grey"


def test_unseen_skin_is_as_usual_for_its_place_and_tone(model: HeadModel) -> None:
    rows = model.material[model.triangle_quad] == 0
    at = make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], 64)
    low = (model.neutral[:, 1:] < 0)[:, :1] * np.ones(3)
    usual = replace(model, complexion_mean=-0.1 * low, complexion_slope=0.2 * low)
    for tone in (TONE, 0.2 * TONE):
        skins = (unseen_skin(m, at, tone, np.zeros(3), (np.zeros(len(at.index)), tone)) for m in (usual, model))
        over = np.log(next(skins) / next(skins))
        np.testing.assert_allclose(over, (-0.1 + 0.2 * np.log(tone).mean()) * at.at(low), atol=1e-4)


def test_detail_is_measured_band_by_band() -> None:
    points = np.stack([COLUMN, ROW, 0 * ROW], -1).reshape(-1, 3) * 0.0005
    texture = solid_noise(points, 0.0045, 3).reshape(S, S)
    skin = TONE * np.exp(0.03 * texture)[..., None]
    found = detail_of(skin, np.ones((S, S)), 0.0005)
    flat = detail_of(np.tile(TONE, (S, S, 1)), np.ones((S, S)), 0.0005)
    assert found[1] > 1.3 * flat[1]
    np.testing.assert_allclose(detail_of(skin, np.zeros((S, S)), 0.0005), PLAIN)


def test_noise_is_of_space_alone() -> None:
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (20000, 3))
    found = solid_noise(points, 0.01, 1)
    np.testing.assert_array_equal(found[:50], solid_noise(points[:50], 0.01, 1))
    assert abs(found.mean()) < 0.1 and found.std() == pytest.approx(1, abs=0.25)
    near = solid_noise(points + 1e-5, 0.01, 1)
    assert np.abs(near - found).max() < 0.05 and np.abs(solid_noise(points, 0.01, 2) - found).mean() > 0.5


def test_lips_are_glossier_and_shine_makes_smoother(model: HeadModel) -> None:
    rows = model.material[model.triangle_quad] == 0
    at = make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], 64)
    none = np.zeros(len(at.index), np.float32)
    skin, lips = gloss_of(model, at, (0.48, 0.4), none, 1.0), gloss_of(model, at, (0.48, 0.4), none + 1, 1.0)
    assert lips[:, 0].mean() < skin[:, 0].mean() - 0.05 and lips[:, 1].mean() > skin[:, 1].mean() + 0.03
    assert gloss_of(model, at, (0.48, 0.4), none, 1.4)[:, 0].mean() < skin[:, 0].mean()
    assert 0 <= skin.min() <= skin.max() <= 1


def test_dark_hair_dulls_the_skin_and_lips_stay_glossy() -> None:
    gloss = np.full((4, 2), 0.4)
    albedo = TONE * np.array([1.2, 0.35, 0.05, 0.35])[:, None]
    out = dulled(gloss, albedo, TONE, np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(out, [[0.4, 0.4], [0.4, 0.2], [0.4, 0.0], [0.4, 0.4]], atol=1e-6)
