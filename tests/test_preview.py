# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle's own picture, and the head as a picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from idto3d.finish import Head, assemble
from idto3d.finish.picture import portrait, render_head
from idto3d.fit.light import harmonics
from idto3d.fit.result import PhotoFit
from idto3d.headmodel import HeadModel
from idto3d.preview import (
    ANGLES,
    LOOK_BACK_SIZE,
    SIZE,
    close_up,
    photo_light,
    photo_portrait,
    plain_portrait,
    preview_sheet,
)
from idto3d.render.lights import FlatLight
from idto3d.render.shading import shade
from idto3d.render.studio import portrait_light
from tests.synthetic_face import EVEN_LIGHT, at_landmarks, camera_of, face_of, photograph


@pytest.fixture(scope="module")
def head(tiny: HeadModel) -> Head:
    return assemble(tiny, tiny.neutral.astype(np.float64), {}, np.zeros(len(tiny.neutral)), {}, None)


def photo_of(model: HeadModel, yaw: float) -> PhotoFit:
    none = np.zeros(len(model.expression_names))
    return PhotoFit("a", camera_of(model, yaw), none, np.zeros_like(model.neutral), EVEN_LIGHT, 0.001, 1.0)


@pytest.mark.parametrize("azimuth", [0.0, 35.0, 90.0, 180.0, -60.0])
def test_a_portrait_shows_all_of_the_head(head: Head, azimuth: float) -> None:
    camera = portrait(head, azimuth, 200, elevation=4.0)
    pixel, _ = camera.project(head.vertices)
    assert pixel.min() > 2 and pixel.max() < 197 and np.ptp(pixel[:, 1]) > 120
    # from azimuth 90 the person's left side, +X, is what one sees
    a = np.radians(azimuth)
    towards = camera.position - camera.centre
    assert np.arctan2(towards[0], towards[2]) == pytest.approx(np.arctan2(np.sin(a), np.cos(a)), abs=1e-6)
    assert towards[1] > 0


def test_a_flat_picture_has_the_materials_own_colours(head: Head) -> None:
    camera = portrait(head, 0.0, 128)
    picture = render_head(head, camera, 128, FlatLight(), background=0.25)
    np.testing.assert_allclose(picture[2, 2], 0.25)
    chin = camera.project(np.array([0.0, -0.06, 0.08]))[0].astype(int)
    np.testing.assert_allclose(picture[chin[1], chin[0]], (0.75, 0.55, 0.45), atol=0.01)
    behind = render_head(head, portrait(head, 180.0, 128), 128, FlatLight())
    np.testing.assert_allclose(behind[64, 64], (0.7, 0.5, 0.4), atol=0.01)


def test_what_is_see_through_is_left_out(head: Head) -> None:
    camera = portrait(head, 0.0, 64)
    glass = replace(head, alpha={"skin": np.zeros((4, 4))})
    whole, through = (render_head(h, camera, 64, FlatLight())[32, 32] for h in (head, glass))
    np.testing.assert_allclose(whole, (0.75, 0.55, 0.45), atol=0.01)
    np.testing.assert_allclose(through, (0.7, 0.5, 0.4), atol=0.01)  # the inside of the back of the head


def test_hairs_finer_than_pixels_are_faint_not_dotted(head: Head) -> None:
    stripes = np.zeros((2048, 2048))
    stripes[:, ::4] = 1.0
    camera = portrait(head, 0.0, 64)
    whole, fine, none = (
        render_head(h, camera, 64, FlatLight())[26:38, 26:38]
        for h in (head, replace(head, alpha={"skin": stripes}), replace(head, alpha={"skin": 0 * stripes}))
    )
    np.testing.assert_allclose(fine, none + (whole - none) / 4, atol=0.02)


def test_see_through_things_have_no_dark_outline(head: Head) -> None:
    """Half see-through skin before a background of its own colour looks like it, everywhere."""
    grey = {name: np.full((4, 4, 5), 0.6) for name in head.maps}
    glass = replace(head, maps=grey, alpha={"skin": np.full((4, 4), 0.5)})
    camera = portrait(head, 20.0, 64)
    assert render_head(head, camera, 64, FlatLight(), 0.6).std() > 0.01
    np.testing.assert_allclose(render_head(glass, camera, 64, FlatLight(), 0.6), 0.6, atol=0.01)


def test_holes_in_what_counts_as_opaque_do_not_show_the_background(head: Head) -> None:
    """One square whose corners are opaque, and whose middle is clear."""
    corner = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    one = np.zeros(1, int)
    square = replace(
        head, vertices=np.c_[0.1 * corner, np.zeros(4)], quads=np.arange(4)[None], uv=0.5 + 0.5 * corner,
        quads_uv=np.arange(4)[None], part=one, material=one, materials=("skin",), alpha={"skin": np.ones((16, 16))},
    )  # fmt: skip
    clear = np.ones((16, 16))
    clear[4:12, 4:12] = 0.2
    camera = portrait(square, 0.0, 256)
    whole, holed = (
        render_head(h, camera, 256, FlatLight(), 1.0) for h in (square, replace(square, alpha={"skin": clear}))
    )
    assert whole[128, 128].max() < 0.9
    np.testing.assert_allclose(holed, whole, atol=0.01)


def test_both_sides_of_a_face_are_lit_alike(head: Head) -> None:
    camera, light = portrait(head, 30.0, 96), portrait_light()
    last = head.quads[:, 3:] >= 0
    quads, uv = (np.where(last, q[:, [0, 3, 2, 1]], q[:, [0, 2, 1, 3]]) for q in (head.quads, head.quads_uv))
    turned = replace(head, quads=quads, quads_uv=uv)
    outside, inside = (render_head(h, camera, 96, light)[30:66, 30:66] for h in (head, turned))
    assert np.ptp(outside) > 0.05
    np.testing.assert_allclose(inside, outside, atol=0.02)


def test_what_faces_the_camera_is_in_portraits_as_light_as_it_is(head: Head) -> None:
    """Pale skin is not burnt out, dark skin not lost."""
    camera = portrait(head, 0.0, 64)
    for albedo in (0.35, 0.9):
        plain = replace(head, maps={name: np.full((4, 4, 5), albedo) * [1, 1, 1, 0, 0] + [0, 0, 0, 0.6, 0.0]
                                    for name in head.maps})  # fmt: skip
        shown = render_head(plain, camera, 64, portrait_light())[28:36, 28:36]
        assert 0.9 * albedo < shown.mean() < 1.1 * albedo and shown.max() < 0.99


def test_a_close_up_has_the_camera_that_belongs_to_it(tiny: HeadModel) -> None:
    """The picture under the new camera's pixels is the photo's under the old one's."""
    camera = camera_of(tiny, 20)
    posed = tiny.neutral.astype(np.float64)
    colours = np.random.default_rng(0).uniform(0.1, 0.6, posed.shape)
    picture, person = photograph(tiny, camera, posed, colours)
    crop, near = close_up(face_of(tiny, camera, posed, picture, person=person), camera, 256)
    assert crop.shape == (256, 256, 3)
    face = tiny.landmark_triangle[:468, 0]
    old, new = camera.project(posed[face])[0], near.project(posed[face])[0]
    assert 0 < new.min() and new.max() < 255 and np.ptp(new[:, 1]) > 80
    before, after = (
        im[np.rint(p[:, 1]).astype(int), np.rint(p[:, 0]).astype(int)] for im, p in ((picture, old), (crop, new))
    )
    assert np.abs(before.astype(float) - after).mean() < 8
    height = camera.inverse_distance, near.inverse_distance
    assert height[0] == height[1]


def test_the_head_lies_where_the_photo_has_it(tiny: HeadModel, head: Head) -> None:
    camera = camera_of(tiny, -25)
    posed = tiny.neutral.astype(np.float64)
    picture, person = photograph(tiny, camera, posed)
    sheet = preview_sheet(face_of(tiny, camera, posed, picture, person=person), photo_of(tiny, -25), head)
    assert sheet.shape == (SIZE, (2 + len(ANGLES)) * SIZE, 3) and sheet.dtype == np.uint8
    tiles = np.split(sheet.astype(float), 2 + len(ANGLES), 1)
    outlines = [np.abs(tile - tile[0, 0]).max(2) > 30 for tile in tiles]
    same = (outlines[0] & outlines[1]).sum() / (outlines[0] | outlines[1]).sum()
    assert same > 0.9
    front = outlines[2]
    np.testing.assert_array_equal(front[:, ::-1][:, 2:-2].sum(1) > 0, front[:, 2:-2].sum(1) > 0)
    assert all(0.1 < outline.mean() < 0.9 for outline in outlines[2:])


@pytest.mark.parametrize("grey", [True, False])
def test_the_head_in_a_photos_light_has_colours_if_the_photo_has(tiny: HeadModel, head: Head, grey: bool) -> None:
    camera = camera_of(tiny, -25)
    light = EVEN_LIGHT * np.array([1.0, 0.8, 0.6])
    face = replace(face_of(tiny, camera, tiny.neutral.astype(np.float64)), grey=grey)
    sheet = preview_sheet(face, replace(photo_of(tiny, -25), light=light), head)
    colours = [np.ptp(tile.astype(int), axis=2).max() for tile in np.split(sheet, 2 + len(ANGLES), 1)]
    assert (colours[1] == 0) == grey and min(colours[2:]) > 0


def test_the_photos_light_is_the_one_that_was_fitted(tiny: HeadModel) -> None:
    """Radiance whose irradiance over pi is what the fit has."""
    light = EVEN_LIGHT.copy()
    light[1:4] = [[0.3, 0.2, 0.1], [0.5, 0.5, 0.5], [-0.4, -0.2, 0.0]]
    photo = replace(photo_of(tiny, 0.0), light=light)
    normals = np.random.default_rng(0).normal(size=(20, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    n = torch.from_numpy(normals).float()
    one = torch.ones(20, 1)
    # rough and seen from straight ahead, so that hardly anything but the diffuse light is left
    found = shade(torch.ones(20, 3), one, 0 * one, n, 0 * n, 10 * n, photo_light(photo)).numpy()
    wanted = harmonics(normals) @ light
    bright = wanted.min(1) > 0.3
    assert bright.sum() > 10
    np.testing.assert_allclose(found[bright], wanted[bright], rtol=0.02)


def test_the_portrait_to_look_back_at(head: Head) -> None:
    camera, picture = plain_portrait(head)
    assert picture.shape == (LOOK_BACK_SIZE, LOOK_BACK_SIZE, 3) and camera.angles[0] == 0
    assert picture[3, 3].tolist() == [128, 128, 128]


@pytest.mark.parametrize("yaw", [0.0, -40.0])
def test_the_photos_own_view_to_look_back_at(tiny: HeadModel, head: Head, yaw: float) -> None:
    """The landmarks lie in it where the photo has them, on the head."""
    photo = photo_of(tiny, yaw)
    face = face_of(tiny, photo.camera, tiny.neutral.astype(np.float64))
    camera, picture = photo_portrait(head, face, photo)
    assert camera.angles == pytest.approx(photo.camera.angles)
    chin = camera.project(at_landmarks(tiny, tiny.neutral.astype(np.float64))[152])[0]
    x, y = np.rint(chin).astype(int)
    assert 0 < x < LOOK_BACK_SIZE and picture[y - 4, x].tolist() != [128, 128, 128]
    assert picture[3, 3].tolist() == [128, 128, 128]
