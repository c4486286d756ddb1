# SPDX-License-Identifier: GPL-3.0-or-later
"""The light in which maps look as their photograph does: solved against the renderer's own shading."""

import numpy as np
import pytest
import torch

from idto3d.arrays import Array
from idto3d.evidence.gather import gather_evidence
from idto3d.evidence.relight import relit, solve_light
from idto3d.fit.light import harmonics
from idto3d.fit.subject import fit_subject
from idto3d.render.lights import EnvironmentLight, lobe
from idto3d.render.shading import diffuse_bands, shade, srgb_to_linear
from idto3d.render.skin import F0_OF_SPECULAR
from tests.synthetic_face import camera_of, face_of, with_exact_net
from tests.tiny_head import tiny_head_model

BANDS = diffuse_bands(torch.ones(1, dtype=torch.float64)).numpy()[:, None]


def skin(count: int = 3000) -> tuple[Array, Array, Array]:
    """Mottled skin that a camera sees: channels (N,5), normals (N,3) and directions to the camera (N,3)."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(count, 3))
    normals[:, 2] = np.abs(normals[:, 2]) + 0.3
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    albedo = np.clip([0.75, 0.55, 0.45] + rng.normal(0, 0.08, (count, 3)), 0, 1)
    channels = np.c_[albedo, np.full(count, 0.48), np.full(count, 0.35)]
    return channels.astype(np.float32), normals, np.tile([0.0, 0.0, 1.0], (count, 1))


def seen_in(light: Array, channels: Array, normals: Array, towards: Array) -> Array:
    """(N,3) linear, of a light (9,3) as irradiance over pi, by the renderer."""
    parts = [torch.from_numpy(np.asarray(x, np.float64)) for x in (channels, normals, towards)]
    one, n, eye = parts
    environment = EnvironmentLight(torch.from_numpy(light / BANDS))
    colour, f0 = srgb_to_linear(one[:, :3]), F0_OF_SPECULAR * one[:, 4:5]
    return shade(colour, one[:, 3:4], f0, n, 0 * n, eye, environment).numpy()


def warm_from_the_left() -> Array:
    key = lobe(torch.tensor([0.8, 0.4, 0.45], dtype=torch.float64), 1.5, 0.8).numpy()[:, None] * [1.2, 1.0, 0.7]
    fill = lobe(torch.tensor([-0.6, 0.0, 0.8], dtype=torch.float64), 0.5, 0.1).numpy()[:, None] * [0.2, 0.25, 0.35]
    return (0.6 * key + fill) * BANDS


def test_the_head_in_the_found_light_looks_as_it_was_photographed() -> None:
    at = skin()
    colours = seen_in(warm_from_the_left(), *at)
    found = seen_in(solve_light(colours, at[0], at[1:], np.ones(len(colours))), *at)
    assert np.abs(found / colours - 1).mean() < 0.02


def test_what_the_maps_have_not_is_the_lights_colour() -> None:
    """Maps greener than their photograph make its light so much less green."""
    at = skin()
    colours = seen_in(warm_from_the_left(), *at)
    greener = at[0].copy()
    greener[:, 1] *= 1.1
    light = solve_light(colours, greener, at[1:], np.ones(len(colours)))
    found = seen_in(light, greener, *at[1:])
    np.testing.assert_allclose(found.mean(0), colours.mean(0), rtol=0.03)


@pytest.mark.parametrize("value", [0.01, 1.0])
def test_stubble_and_highlights_do_not_move_it(value: float) -> None:
    at = skin()
    clean = seen_in(warm_from_the_left(), *at)
    colours = clean.copy()
    there = np.random.default_rng(2).random(len(colours)) < 0.15
    colours[there] = value
    found = seen_in(solve_light(colours, at[0], at[1:], np.ones(len(colours))), *at)
    assert np.abs(found / clean - 1)[~there].mean() < 0.12


def test_no_direction_shines_less_than_nothing() -> None:
    """Light from one side alone: skin that looks away from it is dark, and that which no camera sees is not black."""
    at = skin()
    colours = np.clip(at[1] @ [0.9, 0.0, 0.436], 0, None)[:, None] * [0.4, 0.25, 0.2] + 0.001
    light = solve_light(colours, at[0], at[1:], np.ones(len(colours)))
    every = np.random.default_rng(1).normal(size=(2000, 3))
    radiance = harmonics(every / np.linalg.norm(every, axis=1, keepdims=True)) @ (light / BANDS)
    assert (radiance.min(0) > -0.1 * radiance.max(0)).all()


def test_a_photograph_without_blue_has_a_light_all_the_same() -> None:
    at = skin()
    colours = seen_in(warm_from_the_left(), *at) * [1, 1, 0]
    light = solve_light(colours, at[0], at[1:], np.ones(len(colours)))
    found = seen_in(light, *at)
    np.testing.assert_allclose(found[:, :2].mean(0), colours[:, :2].mean(0), rtol=0.05)
    assert np.abs(found[:, 2]).max() < 0.02


def test_a_photograph_without_skin_keeps_its_light() -> None:
    """White all over: none of it is taken for skin."""
    model = with_exact_net(tiny_head_model())
    posed = model.neutral.astype(np.float64)
    face = face_of(model, camera_of(model), posed, np.full((320, 320, 3), 255, np.uint8))
    fitted = fit_subject(model, [face])
    evidence = gather_evidence(model, fitted.faces, fitted.fit, fitted.projected, 64)
    assert max(float(seen.max()) for seen in evidence.seen.values()) < 0.3
    again = relit(model, fitted, evidence)
    np.testing.assert_array_equal(again.fit.photos[0].light, fitted.fit.photos[0].light)
