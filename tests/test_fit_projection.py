# SPDX-License-Identifier: GPL-3.0-or-later
"""A photograph laid on a surface: which texel gets which pixel, and where nothing was seen."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.fit.light import coat
from idto3d.fit.projection import (
    DEPTH_SIZE,
    EDGE,
    EYES,
    GREY_HAIR,
    MOUTH,
    Projected,
    greyer,
    linear_to_srgb,
    polygon_mask,
    project_photo,
    project_texels,
    read_light,
    sample,
    seen_weights,
    srgb_to_linear,
    usable_pixels,
    vertex_seen,
    with_common_tone,
)
from idto3d.fit.tone import USUAL_FACING, Reading, likely_tone
from idto3d.headmodel import HeadModel
from idto3d.mesh.texels import Texels, make_texels
from tests.synthetic_face import EVEN_LIGHT, SIZE, SKIN, camera_of, face_of, photograph
from tests.tiny_head import tiny_head_model


def test_colours_to_linear_and_back() -> None:
    values = np.array([0, 10, 128, 255], np.uint8)
    np.testing.assert_allclose(srgb_to_linear(values), [0, 0.003035, 0.215861, 1], atol=1e-6)
    every = np.arange(256).astype(np.uint8)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(every)) * 255, every, atol=1e-3)


def test_a_pixel_is_read_between_four() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    at = np.array([[0, 0], [3, 2], [1.5, 0.5], [-5, 0], [9, 9]])  # x, y
    np.testing.assert_allclose(sample(image, at), [0, 11, 3.5, 0, 11])
    assert sample(np.dstack([image, -image]), np.tile(at, (5000, 1))).shape == (25000, 2)


def test_a_white_beard_on_dark_skin_is_told_from_the_skin() -> None:
    skin, beard = np.array([0.09, 0.035, 0.02]), np.array([0.4, 0.38, 0.36])
    colours = np.concatenate([np.tile(skin, (60, 1)), np.tile(beard, (40, 1)), np.tile(0.5 * skin, (20, 1))])
    found = greyer(colours, np.ones(120))
    assert found[60:100].min() > GREY_HAIR[1] and np.abs(found[:60]).max() < 0.01 and np.abs(found[100:]).max() < 0.01
    np.testing.assert_allclose(greyer(np.repeat(colours[:, :1], 3, 1), np.ones(120)), 0)  # of a grey picture nothing
    assert len(greyer(np.zeros((0, 3)), np.zeros(0))) == 0


# a flat square whose corners lie at 20 and 84 of a 100-pixel picture; its map has 8 texels a side
QUAD = make_texels(
    np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), np.array([[0, 1, 2], [0, 2, 3]]), np.array([[0, 1, 2], [0, 2, 3]]), 8
)


def laid(picture: Array) -> Projected:
    """The square seen from straight ahead under an even light."""
    ones = np.ones((4, 3))
    pixel = np.array([[20.0, 84], [84, 84], [84, 20], [20, 20]])
    buffer = np.zeros((DEPTH_SIZE, DEPTH_SIZE), np.float32)
    usable = np.ones((100, 100), np.float32)
    normal = np.tile([0.0, 0, 1], (4, 1))
    tone = Reading(np.ones(3), None, False), np.ones(3)
    return Projected(pixel, np.zeros(4), np.ones(4), normal, ones, picture, usable, *tone, EVEN_LIGHT, buffer, buffer)


def checker() -> Array:
    """Squares of 8 pixels, one for each texel, each of its own colour."""
    y, x = np.mgrid[:100, :100]
    return np.dstack([(x - 20) // 8 / 10, (y - 20) // 8 / 10, np.full((100, 100), 0.3)]).astype(np.float32)


def test_each_texel_gets_the_pixel_it_lies_under() -> None:
    colour, weight = project_texels(QUAD, laid(checker()))
    row, column = np.divmod(np.arange(64), 8)
    np.testing.assert_allclose(colour, np.stack([column / 10, row / 10, np.full(64, 0.3)], 1), atol=1e-5)
    np.testing.assert_allclose(weight, 1, atol=1e-5)


def test_the_other_side_lends_its_pixels() -> None:
    colour, _ = project_texels(QUAD, laid(checker()), np.array([1, 0, 3, 2]))
    row, column = np.divmod(np.arange(64), 8)
    np.testing.assert_allclose(colour[:, 0], (7 - column) / 10, atol=1e-5)
    np.testing.assert_allclose(colour[:, 1], row / 10, atol=1e-5)


def test_light_is_divided_out_and_shadow_and_glare_count_little() -> None:
    photo = laid(np.full((100, 100, 3), 0.3, np.float32))
    shade = np.ones((4, 3)) * [2.0, 1.0, 0.5]
    colour, weight = project_texels(QUAD, replace(photo, shade=shade))
    np.testing.assert_allclose(colour, np.tile([0.15, 0.3, 0.6], (64, 1)), rtol=1e-5)
    _, weight = project_texels(QUAD, replace(photo, shade=np.repeat([[1.0], [1], [0.02], [0.02]], 3, 1)))
    weight = QUAD.image(weight)
    assert weight[0].max() < 0.1 and weight[-1].min() == pytest.approx(1)  # the dark edge is the upper one
    _, weight = project_texels(QUAD, laid(np.full((100, 100, 3), 1.0, np.float32)))
    np.testing.assert_allclose(weight, 0.2, atol=1e-5)


@pytest.mark.parametrize(("facing", "seen"), [(1.0, 1.0), (0.45, 1.0), (0.285, 0.5), (0.12, 0.0), (-1.0, 0.0)])
def test_what_is_turned_away_is_not_seen(facing: float, seen: float) -> None:
    photo = laid(checker())
    found = seen_weights(photo, np.array([[50.0, 50]]), np.zeros(1), np.array([facing]))
    np.testing.assert_allclose(found, seen, atol=1e-6)


def test_what_lies_behind_is_not_seen() -> None:
    photo = laid(checker())
    behind = photo.height_buffer.copy()
    behind[:, DEPTH_SIZE // 2 :] = 0.02  # something 2 cm before the right half
    weight = QUAD.image(project_texels(QUAD, replace(photo, height_buffer=behind))[1])
    assert weight[:, :3].min() == pytest.approx(1) and weight[:, 4:].max() == 0
    photo = replace(photo, height_buffer=np.full_like(behind, 0.006))  # half way between seen and not
    np.testing.assert_allclose(project_texels(QUAD, photo)[1], 0.5, atol=1e-4)


def test_what_shows_beside_a_near_edge_is_not_believed() -> None:
    """The neck beside the chin: its pixels hold the chin's shade, or a fit's error."""
    photo = laid(checker())
    edge = photo.edge_buffer.copy()
    edge[:, : DEPTH_SIZE // 2] = 0.03
    edge[:, DEPTH_SIZE // 2 :] = 0.01  # a slope
    weight = QUAD.image(project_texels(QUAD, replace(photo, edge_buffer=edge))[1])
    assert weight[:, :3].max() == 0 and weight[:, 4:].min() == pytest.approx(1)


def test_what_is_no_part_of_the_person_or_the_picture_is_not_seen() -> None:
    photo = laid(checker())
    usable = np.ones((100, 100), np.float32)
    usable[:52] = 0
    weight = QUAD.image(project_texels(QUAD, replace(photo, usable=usable))[1])
    assert weight[:3].max() == 0 and weight[5:].min() == pytest.approx(1)
    weight = QUAD.image(project_texels(QUAD, replace(photo, pixel=photo.pixel - [52, 0]))[1])
    assert weight[:, :4].max() == 0 and weight[:, 4:].min() == pytest.approx(1)


# the tiny head, a whole photograph of it


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return tiny_head_model(48, 32)


def texels_of(model: HeadModel, size: int = 64) -> Texels:
    rows = model.material[model.triangle_quad] == 0
    return make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], size)


@pytest.mark.parametrize("yaw", [0.0, 30.0])
def test_a_painted_head_gets_its_paint_back(model: HeadModel, yaw: float) -> None:
    """Colours that run over the head are, after a photograph of it was laid on it, where they were."""
    posed = model.neutral.astype(np.float64)
    waves = 0.25 * np.sin(posed @ np.array([[90.0, 40, 0], [30, -110, 0], [70, 70, 0]]).T)
    albedo = np.array(SKIN) * np.exp(waves)
    camera = camera_of(model, yaw)
    picture, person = photograph(model, camera, posed, albedo)
    photo = project_photo(model, face_of(model, camera, posed, picture, person=person), camera, posed)
    beyond = (photo.edge_buffer > -1) & (photo.height_buffer < -1)
    rim = EDGE * camera.scale * DEPTH_SIZE / len(picture)
    away = cv2.distanceTransform((photo.height_buffer < -1).astype(np.uint8), cv2.DIST_L2, 5)
    assert 0.8 * rim < away[beyond].max() < 1.3 * rim
    at = texels_of(model)
    colour, weight = project_texels(at, photo)
    seen = weight > 0.6
    assert seen.mean() > 0.35
    ratio = colour[seen] / at.at(albedo)[seen]
    assert np.abs(ratio / np.median(ratio, 0) - 1).mean() < 0.06
    # a quarter turn of the pattern would not pass
    wrong = colour[seen] / at.at(albedo[:, [1, 2, 0]] * np.array(SKIN) / np.array(SKIN)[[1, 2, 0]])[seen]
    assert np.abs(wrong / np.median(wrong, 0) - 1).mean() > 0.15


def test_an_iris_is_as_fine_as_in_the_photo_not_as_in_its_enlargement(model: HeadModel) -> None:
    posed, camera = model.neutral.astype(np.float64), camera_of(model)
    picture, person = photograph(model, camera, posed)
    face = face_of(model, camera, posed, picture, person=person)
    small = replace(face, to_picture=4.0 * face.to_picture)  # from a quarter of the pixels
    own, enlarged = (read_light(model, f, camera, posed).white for f in (face, small))
    assert own is not None and enlarged is not None
    assert enlarged.radius == pytest.approx(own.radius / 4)


def test_the_side_that_looks_away_is_not_seen(model: HeadModel) -> None:
    posed = model.neutral.astype(np.float64)
    camera = camera_of(model, 40)
    picture, person = photograph(model, camera, posed)
    photo = project_photo(model, face_of(model, camera, posed, picture, person=person), camera, posed)
    seen = vertex_seen(model, photo)
    skin = model.vertices_of("face", "back_head")
    assert seen[posed[:, 2] < -0.05].max() == 0
    assert seen[~skin].max() == 0
    right, left = (skin & (posed[:, 2] > 0.0) & (sign * posed[:, 0] > 0.055) for sign in (-1, 1))
    assert seen[right].mean() > 0.5 and seen[left].mean() < 0.2  # the face looks to the picture's right


def test_what_the_head_has_before_the_face_hides_it(model: HeadModel) -> None:
    posed = model.neutral.astype(np.float64)
    camera = camera_of(model)
    picture, person = photograph(model, camera, posed)
    face = face_of(model, camera, posed, picture, person=person)
    board = np.array([[0.01, -0.2, 0.15], [0.2, -0.2, 0.15], [0.2, 0.2, 0.15], [0.01, 0.2, 0.15]])
    free = vertex_seen(model, project_photo(model, face, camera, posed))
    count = len(posed)
    quads, part = np.r_[model.quads, [np.arange(count, count + 4)]], np.r_[model.part, model.part.max()]
    held = replace(model, neutral=np.r_[model.neutral, board], quads=quads, part=part)
    hidden = vertex_seen(held, project_photo(held, face, camera, np.r_[posed, board]))[:count]
    behind, beside = posed[:, 0] > 0.015, posed[:, 0] < 0
    assert free[behind].max() > 0.9 and hidden[behind].max() == 0
    np.testing.assert_array_equal(hidden[beside], free[beside])


def test_beyond_the_person_nothing_is_usable(model: HeadModel) -> None:
    posed, camera = model.neutral.astype(np.float64), camera_of(model)
    person = np.ones((SIZE, SIZE), np.float32)
    person[:, SIZE // 2 :] = 0.5  # a mask that does not know is none
    face = face_of(model, camera, posed, person=person)
    usable = usable_pixels(face)
    assert usable[:, SIZE // 2 + 1 :].max() < 0.01 and usable[5, 5] > 0.99
    inside = np.ones((SIZE, SIZE), bool)
    inside[:40] = False
    assert usable_pixels(replace(face, inside=inside))[:38].max() < 0.01


def test_beside_a_thing_before_the_face_nothing_is_usable_and_beside_the_face_all_of_it_is(model: HeadModel) -> None:
    face = face_of(model, camera_of(model), model.neutral.astype(np.float64))
    height, columns = float(np.ptp(face.landmarks[:468, 1])), np.arange(SIZE)
    row, left = int(face.landmarks[50, 1]), int(face.landmarks[234, 0])  # of a cheek, of the face's side
    person = np.ones((SIZE, SIZE), np.float32)
    for edge, lost in ((left + 0.2 * height, 0.09), (left + 0.05 * height, 0.0)):
        person[:] = columns > edge
        usable = usable_pixels(replace(face, person=person))[row]
        assert usable[int(edge + (lost + 0.05) * height)] > 0.95, "skin is lost"
        assert lost == 0 or usable[: int(edge + (lost - 0.02) * height)].max() < 0.05, "the thing's rim stays"


def test_openings_of_eyes_and_mouth_are_not_the_outside(model: HeadModel) -> None:
    posed = model.neutral + model.motion(model.expression_vector({"jawOpen": 0.6}))
    face = face_of(model, camera_of(model), posed)
    usable = usable_pixels(face)
    for outline in (*EYES, MOUTH):
        inside = polygon_mask(SIZE, face.landmarks, outline)
        assert inside.sum() > 20 and usable[inside].max() < 0.5 and usable[inside].mean() < 0.15
    chin = np.rint(face.landmarks[152]).astype(int)
    assert usable[chin[1], chin[0]] > 0.95


def test_photos_of_one_person_have_one_tone_and_explain_the_same_colours(model: HeadModel) -> None:
    posed, camera = model.neutral.astype(np.float64), camera_of(model)
    picture, person = photograph(model, camera, posed)
    one = project_photo(model, face_of(model, camera, posed, picture, person=person), camera, posed)
    dim = replace(one.reading, skin=0.5 * one.reading.skin)
    darker = likely_tone([dim])
    mirrored = coat(np.full(1, USUAL_FACING))
    gain = ((1 - mirrored) * one.tone + mirrored) / ((1 - mirrored) * darker + mirrored)
    other = replace(one, reading=dim, tone=darker, light=one.light * gain, shade=one.shade * gain)
    face, grey = (replace(face_of(model, camera, posed), grey=grey) for grey in (False, True))
    (alone,) = with_common_tone([face], [one])
    np.testing.assert_allclose(alone.light, one.light)
    first, second = with_common_tone([face, face], [one, other])
    assert (darker < first.tone).all() and (first.tone < one.tone).all()
    np.testing.assert_array_equal(first.tone, second.tone)
    np.testing.assert_allclose(first.light, second.light)
    assert (first.shade > one.shade).all() and (second.shade < other.shade).all()
    for coloured in with_common_tone([grey, face, grey], [other, one, other]):  # hues of grey photos are guesses
        np.testing.assert_allclose(coloured.tone, one.tone)
