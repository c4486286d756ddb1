# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin of any head crosses itself nowhere, and is changed only where it did."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from idto3d.arrays import Array
from idto3d.fit.subject import fit_subject
from idto3d.fit.untangle import REACH, untangle
from idto3d.headmodel import HeadModel
from idto3d.mesh.intersections import self_intersections
from tests.synthetic_face import camera_of, face_of


def crossings(model: HeadModel, points: Array) -> Array:
    return self_intersections(points, model.triangles_of("face", "back_head"))


def person(model: HeadModel, seed: int, strength: float = 1.0) -> Array:
    return model.shape(strength * np.random.default_rng(seed).normal(size=len(model.identity)))


@pytest.mark.parametrize("seed", [1, 5, 6, 110, 111])
def test_random_people_of_the_model_cross_themselves_nowhere(starter: HeadModel, seed: int) -> None:
    points = person(starter, seed)
    before = crossings(starter, points)
    assert len(before) > 50
    change = untangle(starter, points)
    assert len(crossings(starter, points + change)) == 0
    moved = np.linalg.norm(change, axis=1)
    assert moved.max() < 0.0025
    # what is far from every crossing keeps its place
    hit = starter.neutral[np.unique(starter.triangles_of("face", "back_head")[before])]
    far = cKDTree(hit).query(starter.neutral)[0] > 3 * REACH
    assert far.sum() > 1000 and moved[far].max() == 0


def test_what_does_not_cross_is_left_alone(starter: HeadModel) -> None:
    assert not untangle(starter, starter.neutral.astype(np.float64)).any()


def test_seams_of_parts_stay_closed(starter: HeadModel) -> None:
    """The socket of the mouth begins where the lips end: their vertices there are different ones in the same places."""
    points = person(starter, 1)
    change = untangle(starter, points)
    lips, socket = (np.flatnonzero(starter.vertices_of(part)) for part in ("face", "mouth_socket"))
    lips = lips[np.linalg.norm(change[lips], axis=1) > 1e-4]
    apart = np.linalg.norm(starter.neutral[lips, None] - starter.neutral[socket][None], axis=2)
    i, j = np.nonzero(apart < 1e-7)
    assert len(i) > 10
    before = np.linalg.norm(points[lips[i]] - points[socket[j]], axis=1)
    after = np.linalg.norm((points + change)[lips[i]] - (points + change)[socket[j]], axis=1)
    assert (after - before).max() < 1e-5


@pytest.mark.parametrize("seed", [3, 7])
def test_a_fitted_head_at_rest_crosses_itself_nowhere(starter: HeadModel, seed: int) -> None:
    smile = starter.motion(starter.expression_vector({"mouthSmile": 0.5, "jawOpen": 0.1}))
    rng = np.random.default_rng(seed)
    face = face_of(starter, camera_of(starter, 12, 4), person(starter, seed, 0.6) + smile)
    face = replace(face, landmarks=face.landmarks + rng.normal(0, 1.5, (478, 2)))
    fit = fit_subject(starter, [face]).fit
    assert len(crossings(starter, fit.neutral(starter))) == 0
