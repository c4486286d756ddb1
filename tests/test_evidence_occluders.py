# SPDX-License-Identifier: GPL-3.0-or-later
"""Skin told from what is no skin: glasses, strands, glare, cloth, collars."""

from collections.abc import Callable

import numpy as np

from idto3d.arrays import Array
from idto3d.evidence.delight import shaded
from idto3d.evidence.glasses import DIRECTIONS, directions
from idto3d.evidence.occluders import above_collar, beyond_rim, mirroring, neck_piece, occluders
from idto3d.fit.projection import EYES
from tests.tiny_head import tiny_head_model

TONE = np.array([0.5, 0.27, 0.17])
S = 256
COLUMN = np.mgrid[:S, :S][1]
TURNED = COLUMN * 2 * DIRECTIONS // S
ACROSS = 0.0004 * (COLUMN - S / 2)  # metres
NOWHERE = np.zeros((S, S, 3)), np.zeros((S, S, 4))


def hidden(colour: Array, zones: float = 1.0) -> Array:
    ones = np.ones((S, S), np.float32)
    around = np.dstack([np.full((S, S, 2), zones), ACROSS, TURNED])
    return occluders(colour.astype(np.float32), ones, TONE, np.dstack([zones * ones, 0 * ones, 0 * ones]), around)


def test_frames_strands_and_blue_things_are_left_out() -> None:
    skin = np.tile(TONE, (S, S, 1))
    assert hidden(skin).max() < 0.01
    frame = skin.copy()
    frame[100:103, :] *= 0.15
    assert hidden(frame)[101].min() > 0.8 and hidden(frame)[:80].max() < 0.1
    freckle = skin.copy()
    freckle[100:103, 60:68] *= 0.15
    assert hidden(freckle).max() < 0.1
    shade = skin * np.where(COLUMN < 128, 0.5, 1.0)[..., None]
    assert hidden(shade).mean() < 0.1  # a shadow hides nothing
    glare = skin.copy()
    glare[150:] *= 3.2
    assert hidden(glare)[170:].min() > 0.9 and hidden(1.9 * skin).max() < 0.05
    beards = np.zeros((S, S, 3)) + [0.0, 0.0, 1.0]  # a white one is no reflection
    ones = np.ones((S, S), np.float32)
    assert occluders(glare.astype(np.float32), ones, TONE, beards, NOWHERE[1]).max() < 0.05
    cloth = skin.copy()
    cloth[150:] = 0.1, 0.12, 0.3
    assert hidden(cloth)[170:].min() > 0.9
    beard = skin.copy()
    beard[150:] = 0.06, 0.05, 0.045
    outside = occluders(beard.astype(np.float32), np.ones((S, S), np.float32), TONE, *NOWHERE)
    assert outside.max() < 0.05


def test_what_stands_behind_the_rim_is_unlike_the_other_half() -> None:
    ones, none = np.ones((S, S), np.float32), np.zeros((S, S), np.float32)
    facing = np.where(COLUMN < 64, 0.3, 0.9).astype(np.float32)
    skin = np.tile(TONE, (S, S, 1)).astype(np.float32)

    def doubted(colour: Array, other_seen: Array = ones) -> Array:
        own, other = (shaded(each, ones, TONE, none, none) for each in (colour, skin))
        return beyond_rim(own, other, other_seen, facing)

    flag = skin.copy()
    flag[:, :32] *= [0.9, 0.3, 0.3]
    flag[:, 200:] *= [0.9, 0.3, 0.3]  # a birthmark
    found = doubted(flag)
    assert found[:, :28].min() > 0.9 and found[:, 40:].max() == 0
    assert doubted(flag, none).max() == 0  # nothing is known better
    assert doubted(0.7 * skin).max() == 0  # light


def test_a_white_wall_in_the_rim_of_the_face_is_left_out() -> None:
    """Seen: a bluish band along a cheek before a bright backdrop."""
    ones, none = np.ones((S, S), np.float32), np.zeros((S, S), np.float32)
    facing = np.minimum(COLUMN / 64, 1.0).astype(np.float32)
    skin = np.tile(TONE, (S, S, 1))
    mirrored = skin + 0.3
    found = mirroring(shaded(mirrored, ones, TONE, none, none), facing)
    assert found[:, :30].min() > 0.9 and found[:, 56:].max() == 0
    for light in (0.6, 1.3):
        assert mirroring(shaded(light * skin, ones, TONE, none, none), facing).max() == 0


def test_below_a_collar_of_the_skin_s_colour_nothing_of_the_neck_is_seen() -> None:
    ones, neck = np.ones((S, S), np.float32), np.zeros((S, S), np.float32)
    neck[64:] = 1.0
    picture = np.tile(TONE, (S, S, 1)).astype(np.float32)
    picture[30] *= 0.2  # in the face
    picture[180:183] *= 0.2  # a collar's edge
    picture[120:122, 100:102] *= 0.2  # a mole
    kept = neck_piece(picture, ones, neck)
    assert kept[:174].min() > 0.9 and kept[182:].max() < 0.1
    shaded_off = picture * np.linspace(1, 0.3, S, dtype=np.float32)[:, None, None]
    np.testing.assert_allclose(neck_piece(shaded_off, ones, neck), kept, atol=0.01)  # a shadow is no edge
    assert neck_piece(picture, 0 * ones, neck)[70:].max() < 0.1  # nothing is seen, nothing is known


def test_wrinkles_and_shadows_do_not_go_round_an_eye() -> None:
    skin = np.tile(TONE, (S, S, 1))
    skin[100:103, 90:166] *= 0.15
    assert hidden(skin).max() < 0.1


def test_what_does_not_cross_the_nose_is_no_frame() -> None:
    """Seen: painted lids, and the wrinkles of a smile around them."""
    skin = np.tile(TONE, (S, S, 1))
    skin[100:103, :] *= 0.15
    skin[100:103, 118:138] = TONE
    assert hidden(skin).max() < 0.1


def test_the_edges_of_a_frame_are_left_out_with_it() -> None:
    """Seen: the bright inner side of a black frame, as a ring on the cheek."""
    skin = np.tile(TONE, (S, S, 1))
    skin[100:103, :] *= 0.1
    skin[103:104, :] = 0.6
    assert hidden(skin)[103].min() > 0.8 and hidden(skin)[112:].max() < 0.1


def test_a_frame_as_black_as_a_brow_does_not_take_all_of_it() -> None:
    picture = np.tile(TONE, (S, S, 1))
    picture[115:118, :] *= 0.1  # a frame
    picture[85:118, 150:200] = 0.1 * TONE  # a brow that touches it
    brows = np.zeros((S, S))
    brows[80:124, 140:210] = 1.0
    zones, glasses = np.dstack([np.ones((S, S)), brows, 0 * brows]), np.dstack([np.ones((S, S, 2)), ACROSS, TURNED])
    found = occluders(picture.astype(np.float32), np.ones((S, S), np.float32), TONE, zones, glasses)
    assert found[116, 5:130].min() > 0.8 and found[90:105, 155:195].max() < 0.2


def test_directions_from_the_nearer_eye() -> None:
    model = tiny_head_model(48, 32)
    middles = np.stack([model.landmarks(model.neutral)[list(lids)].mean(0) for lids in EYES])
    right, left = (middles[middles[:, 0].argsort()[k]] for k in (0, 1))
    around = [[0.01, 0.001, 0], [0.001, 0.01, 0], [-0.01, 0.001, 0], [-0.01, -0.001, 0], [0.01, -0.001, 0]]
    found = directions(model, np.concatenate([right + around, left + around]))
    own = found % DIRECTIONS
    np.testing.assert_array_equal(own[:5], [6, 8, 11, 0, 5])
    np.testing.assert_array_equal(own[5:], own[:5])
    assert len(set(found // DIRECTIONS)) == 2


def test_a_frame_goes_on_to_the_ear_and_over_a_brow_and_leaves_the_brow() -> None:
    picture = np.tile(TONE, (S, S, 1))
    picture[96:114, 128:200] *= 0.45  # a brow
    picture[115:118, :] *= 0.12  # a frame along it
    picture[150:153, 40:80] *= 0.12  # a line apart from it
    around, brows = np.zeros((S, S)), np.zeros((S, S))
    around[:, 64:] = 1.0
    brows[90:124, 120:208] = 1.0
    zones = np.dstack([np.ones((S, S)), brows, 0 * brows])
    glasses = np.dstack([around, np.ones((S, S)), ACROSS, TURNED])
    found = occluders(picture.astype(np.float32), np.ones((S, S), np.float32), TONE, zones, glasses)
    assert found[116, 5:].min() > 0.8
    assert found[97:110, 128:200].max() < 0.2
    assert found[148:155, 40:60].max() < 0.1


def test_a_thing_that_is_grey_and_here_and_there_blue_is_left_out_whole_and_a_grey_beard_is_not() -> None:
    grey = np.tile(TONE, (S, S, 1))
    grey[100:160, 100:160] = 0.12, 0.11, 0.11
    assert hidden(grey, 0.0).max() < 0.05
    grey[100:120, 100:160] = 0.12, 0.12, 0.14
    assert hidden(grey, 0.0)[105:155, 105:155].min() > 0.9 and hidden(grey, 0.0)[:80].max() < 0.01


def neck_of(like: Callable[[Array, Array], Array]) -> tuple[Array, Array, Array]:
    """What is left of a neck that looks like skin, 0..1, by metres below the chin and turns about it; and these two."""
    below, around = (x.ravel() for x in np.meshgrid(np.linspace(-0.05, 0.10, 301), np.linspace(-0.499, 0.499, 360)))
    place = np.c_[below, np.sin(2 * np.pi * around), np.cos(2 * np.pi * around)]
    return above_collar(like(below, around), np.ones(len(below)), place), below, around


def test_below_a_collar_nothing_is_skin() -> None:
    found, below, _ = neck_of(lambda below, _: np.where((below > 0.03) & (below < 0.06), 0.0, 1.0))
    assert found[below < 0.015].min() == 1 and found[below > 0.025].max() == 0  # nor what the collar shades
    assert found[below > 0.063].max() == 0  # not even what looks like skin again
    chain, below, _ = neck_of(lambda below, _: np.where((below > 0.03) & (below < 0.036), 0.0, 1.0))
    assert chain.min() == 1


def test_a_collar_is_higher_at_one_side() -> None:
    found, below, around = neck_of(lambda below, around: np.where(below > np.where(around > 0, 0.02, 0.06), 0.0, 1.0))
    assert found[(around > 0.09) & (around < 0.41) & (below > 0.018)].max() == 0
    assert found[(around < -0.1) & (around > -0.4) & (below < 0.045)].min() == 1
