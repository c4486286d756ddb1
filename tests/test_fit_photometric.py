# SPDX-License-Identifier: GPL-3.0-or-later
"""Shading tells shape: of a made-up head with a skin that one knows, and with one that misleads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.errors import UserError
from idto3d.fit import photometric
from idto3d.fit.landmarks import fit_landmarks
from idto3d.fit.light import harmonics
from idto3d.fit.photometric import Shading, fit_shading, normal_equations, read_shading, smaller
from idto3d.fit.priors import identity_prior
from idto3d.fit.projection import project_photo
from idto3d.headmodel import HeadModel, load_head_model, save_head_model
from idto3d.mesh.surface import vertex_normals
from idto3d.photos import align
from idto3d.training.photometric import learn_shading
from tests.synthetic_face import EVEN_LIGHT, SKIN, camera_of, face_of, photograph, with_exact_net
from tests.tiny_head import tiny_head_model

SHADING = ("shading_points", "shading_mean", "shading_ways", "shading_noise")
NUMBERS: dict[str, Any] = {"shading_weight": 0.1, "shading_residual": 0.55}
SIDE = np.array([3.0, 0.4, 0.6, 1.2, 0, 0, 0, 0, 0])[:, None] * np.ones(3)  # a lamp at the person's left


@pytest.fixture(scope="module")
def model() -> HeadModel:
    """Its skin is even, to two per cent."""
    tiny = with_exact_net(tiny_head_model())
    points = np.flatnonzero(tiny.vertices_of("face"))
    none = np.zeros(len(points))
    return replace(
        tiny,
        shading_points=points,
        shading_mean=none,
        shading_ways=none[:, None],
        shading_noise=none + 0.02**2,
        **NUMBERS,
    )


def change(model: HeadModel, truth: Array) -> Array:
    """(M,) what shading says of the identity where the mean head is laid on a photograph of another."""
    camera, points = camera_of(model, 15.0), model.shading_points
    assert points is not None
    picture, person = photograph(model, camera, model.shape(truth), None, SIDE)
    face = face_of(model, camera, model.shape(truth), picture, person=person)
    shading = read_shading(model, face, camera, model.neutral.astype(np.float64), points)
    matrix, gradient = normal_equations(model, shading)
    return np.linalg.solve(matrix + np.eye(len(matrix)), gradient)


def off(model: HeadModel, a: Array, b: Array) -> float:
    """How far faces' normals are off each other."""
    rows = model.shading_points
    return float(np.linalg.norm(np.subtract(*(vertex_normals(model.shape(x), model.triangles)[rows] for x in (a, b)))))


def test_a_smaller_picture_lies_in_its_photo_as_the_larger_did(model: HeadModel) -> None:
    camera = camera_of(model, size=1024)
    face = face_of(model, camera, model.neutral.astype(np.float64), np.zeros((1024, 1024, 3), np.uint8))
    face = replace(face, to_picture=np.array([[5.0, 0, 30], [0, 5.0, -20]]))
    small = smaller(face)
    assert len(small.picture) == 256
    places = [align.apply(align.invert(f.to_picture), f.landmarks) for f in (face, small)]
    np.testing.assert_allclose(places[1], places[0], atol=1e-9)
    assert small.enlarged == pytest.approx(1.25)


def test_slopes_are_derivatives(model: HeadModel) -> None:
    points = model.shading_points
    assert points is not None
    rng = np.random.default_rng(0)
    slope, step = rng.normal(size=(len(points), 3)), 1e-4
    posed = model.shape(0.5 * rng.normal(size=len(model.identity)))
    found = photometric._normals_by_identity(model, posed, points, slope)
    for k, mode in enumerate(model.identity.astype(np.float64)):
        ahead, behind = (vertex_normals(posed + h * mode, model.triangles)[points] for h in (step, -step))
        np.testing.assert_allclose(found[:, k], ((ahead - behind) * slope).sum(1) / (2 * step), atol=1e-6)
    normal = rng.normal(size=(7, 3))
    by = photometric._harmonics_by(normal)
    for axis in range(3):
        h = step * np.eye(3)[axis]
        np.testing.assert_allclose(by[:, axis], (harmonics(normal + h) - harmonics(normal - h)) / (2 * step), atol=1e-6)


def test_shading_brings_the_head_nearer(model: HeadModel) -> None:
    rng = np.random.default_rng(1)
    nothing = np.zeros(len(model.identity))
    left = []
    for truth in rng.normal(size=(3, len(nothing))):
        left.append(off(model, change(model, truth), truth) / off(model, nothing, truth))
    assert np.mean(left) < 0.8


def test_a_skin_that_is_known_to_vary_misleads_less(model: HeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same dark cheek, where all skins are even and where skins are known to have such cheeks; both believed."""
    monkeypatch.setattr(photometric, "LEAST", 100.0)
    points, rng = model.shading_points, np.random.default_rng(5)
    assert points is not None
    truth = 0.3 * rng.normal(size=len(model.identity))
    believed: dict[str, Any] = {"shading_weight": 100.0**2}
    cheek = np.exp(-(((model.neutral - model.neutral[points].mean(0) - [0.03, -0.02, 0]) / 0.025) ** 2).sum(1))[points]
    slopes = rng.normal(size=(len(points), len(truth))) / 10
    shading = Shading(slopes @ truth - 0.5 * cheek, slopes, np.ones(len(points), bool))

    def missed(model: HeadModel) -> float:
        matrix, gradient = normal_equations(model, shading)
        return float(np.linalg.norm(np.linalg.solve(matrix + np.eye(len(matrix)), gradient) - truth))

    warned_of = {"shading_ways": 0.5 * cheek[:, None]}
    misled, warned = (missed(replace(model, **believed | known)) for known in ({}, warned_of))
    assert warned < 0.3 * misled


def test_an_unlikely_photograph_counts_for_less(model: HeadModel) -> None:
    points = model.shading_points
    assert points is not None
    rng = np.random.default_rng(2)
    camera = camera_of(model)
    says = []
    for spots in (0.0, 0.5):
        albedo = np.array(SKIN) * np.exp(spots * rng.normal(size=len(model.neutral)))[:, None]
        picture, person = photograph(model, camera, model.neutral.astype(np.float64), albedo, SIDE)
        face = face_of(model, camera, model.neutral.astype(np.float64), picture, person=person)
        says.append(np.trace(normal_equations(model, read_shading(model, face, camera, model.neutral, points))[0]))
    assert says[1] < 0.2 * says[0]


def test_the_fit_goes_on_with_it(model: HeadModel) -> None:
    truth = np.random.default_rng(3).normal(size=len(model.identity))
    camera = camera_of(model, 10.0)
    picture, person = photograph(model, camera, model.shape(truth), None, SIDE)
    face = face_of(model, camera, model.shape(truth), picture, person=person)
    before = fit_landmarks(model, [face])
    assert fit_shading(replace(model, shading_points=None), [face], before) is before
    after = fit_shading(model, [face], before)
    assert not np.allclose(after.identity, before.identity)
    assert after.residual[0] < before.residual[0] + 1e-3


def test_photos_of_one_skin_tell_of_its_shades_once(model: HeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is darker on it than shading explains is so in each of them."""
    camera = camera_of(model)
    picture, person = photograph(model, camera, model.neutral.astype(np.float64), None, SIDE)
    face = face_of(model, camera, model.neutral.astype(np.float64), picture, person=person)
    before, told = fit_landmarks(model, [face]), []
    monkeypatch.setattr(photometric, "refit_with", lambda *arguments: told.append(arguments[-1].precision))
    for faces in ([face], [face] * 3):
        fit_shading(model, faces, replace(before, states=before.states * len(faces)))
        told[-1] = told[-1] - identity_prior(model, faces).precision
    assert np.trace(told[0]) > 1
    np.testing.assert_allclose(told[1], told[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("power", "mean"), [(1.0, 0.2), (1.3, 0.07), (6.0, -0.2)])
def test_light_that_falls_off_too_fast_says_nothing(model: HeadModel, power: float, mean: float) -> None:
    """A distant lamp at the camera lights skin by the cosine; what falls off faster has a fitted mean of 0 or less."""
    camera, posed = camera_of(model), model.neutral.astype(np.float64)
    falls = np.clip((vertex_normals(posed, model.triangles) * camera.towards(posed)).sum(1), 0, 1) ** power
    picture, person = photograph(model, camera, posed, np.array(SKIN) * falls[:, None], EVEN_LIGHT)
    face = face_of(model, camera, posed, picture, person=person)
    assert model.shading_points is not None
    shading = read_shading(model, face, camera, posed, model.shading_points)
    fitted = photometric.MEAN * project_photo(model, face, camera, posed).light[0] @ photometric.CHANNELS
    assert fitted == pytest.approx(mean, abs=0.05), "the case is as meant"
    assert np.isfinite(shading.logs).all()
    assert shading.seen.any() == normal_equations(model, shading)[0].any() == (power == 1)
    assert np.isfinite(fit_shading(model, [face], fit_landmarks(model, [face])).identity).all()


def test_fields_are_learnt(model: HeadModel) -> None:
    """Two ways in which both sides vary alike, a mean, and noise; a third of the points is not seen."""
    points = model.shading_points
    assert points is not None
    rng = np.random.default_rng(4)
    place = np.abs(model.neutral[points]) * [1, 0, 0] + model.neutral[points] * [0, 1, 1]
    mean, ways = np.sin(30 * place[:, 1]), 0.3 * np.cos(place @ [[40, 0], [25, 60], [0, 10]])
    fields = mean + rng.normal(size=(400, 2)) @ ways.T + 0.1 * rng.normal(size=(400, len(points)))
    seen = rng.random(fields.shape) < 0.67
    found = learn_shading(model, points, fields * seen, seen)
    np.testing.assert_allclose(found["shading_mean"], mean, atol=0.1)
    assert found["shading_points"] is points
    full = learn_shading(model, points, fields, np.ones_like(seen))
    covariance = full["shading_ways"] @ full["shading_ways"].T + np.diag(full["shading_noise"])
    wanted = ways @ ways.T + 0.1**2 * np.eye(len(points))
    assert np.linalg.norm(covariance - wanted) < 0.2 * np.linalg.norm(wanted)


def test_the_file_keeps_it_whole(model: HeadModel, tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    save_head_model(model, file)
    np.testing.assert_array_equal(load_head_model(file).shading_points, model.shading_points)
    assert model.shading_noise is not None and model.shading_points is not None
    nowhere: dict[str, Any] = {name: np.zeros((0,) * (1 + (name == "shading_ways"))) for name in SHADING}
    for broken in (
        replace(model, shading_mean=None),
        replace(model, shading_residual=None),
        replace(model, shading_weight=NUMBERS["shading_weight"] * 0),
        replace(model, shading_noise=0 * model.shading_noise),
        replace(model, **nowhere),
        replace(model, shading_points=model.shading_points + len(model.neutral)),
    ):
        save_head_model(broken, file)
        with pytest.raises(UserError) as refused:
            load_head_model(file)
        assert refused.value.code == "E_PACK_FORMAT"
