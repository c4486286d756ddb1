# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a face's features say it is: learnt from made-up nets whose errors are known, and used by the fit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.errors import UserError
from idto3d.fit.landmarks import fit_landmarks
from idto3d.fit.priors import identity_prior, landmark_error_prior
from idto3d.headmodel import HeadModel, load_head_model, save_head_model
from idto3d.photos.faces import Face
from idto3d.training.feature_identity import learn_features
from tests.synthetic_face import at_landmarks, camera_of, face_of
from tests.tiny_head import tiny_head_model

FEATURES, SHARED, OWN = 60, 0.3, 0.4  # standard deviations of what a made-up net takes a mode to be


class Net:
    """Sees identities through a fixed map, wrong by as much for each person and by as much again for each photo."""

    def __init__(self, model: HeadModel) -> None:
        self._rng = np.random.default_rng(4)
        self._map = self._rng.normal(size=(len(model.identity), FEATURES))
        self.modes = len(model.identity)
        self.mirror = np.diag(np.where(np.arange(self.modes) % 3, 1.0, -1.0))
        self.motion = self._rng.normal(size=(2, 2 * FEATURES)) * 10

    def look(self, identity: Array, photos: int) -> Array:
        """(photos, 2 * FEATURES): of pictures and of their mirror images."""
        shared = SHARED * self._rng.normal(size=self.modes)
        seen = identity + shared + OWN * self._rng.normal(size=(photos, self.modes))
        both = np.concatenate([seen @ self._map, seen @ self.mirror @ self._map], 1)
        return np.asarray(both * 5 + 3 + 0.1 * self._rng.normal(size=both.shape))


@pytest.fixture(scope="module")
def net() -> Net:
    return Net(tiny_head_model())


@pytest.fixture(scope="module")
def model(net: Net) -> HeadModel:
    rng = np.random.default_rng(5)
    identity = rng.normal(size=(400, net.modes))
    features = np.concatenate([net.look(one, 2) for one in identity])
    expression = rng.uniform(size=(len(features), 2)) * (rng.random(len(features)) < 0.1)[:, None]
    features += expression @ net.motion
    who = np.repeat(np.arange(400), 2)
    found: dict[str, Any] = learn_features(features[:, None], identity[who], expression, who, who, net.mirror)[0]
    return replace(tiny_head_model(), **found | {"feature_inflation": 1.0})  # learnt from what it then looks at


def faces(model: HeadModel, identity: Array, features: Array) -> list[Face]:
    face = face_of(model, camera_of(model), model.shape(identity))
    return [replace(face, features=row) for row in features]


def test_errors_are_told_apart(model: HeadModel) -> None:
    assert model.feature_errors is not None
    shared, own = np.sqrt([np.diag(e).mean() for e in model.feature_errors])
    # the best linear estimate takes back some of what is in common
    assert 0.2 < shared < 0.45 and 0.2 < own < 0.45


def test_siblings_are_left_out_together() -> None:
    """A net that sees skins above all: how it errs on a skin that it never saw, siblings who share one cannot hide."""
    rng, family = np.random.default_rng(10), np.repeat(np.arange(150), 6)
    shown, skins = rng.normal(size=(4, FEATURES)), rng.normal(size=(150, FEATURES)) * 2

    def look(identity: Array, skin: Array) -> Array:
        return np.tile(identity @ shown + skin + 0.5 * rng.normal(size=(len(identity), FEATURES)), 2)

    identity, others = rng.normal(size=(900, 4)), rng.normal(size=(2000, 4))
    nothing, who, none = np.zeros((900, 2)), np.arange(900), np.eye(4)
    found, without = learn_features(look(identity, skins[family])[:, None], identity, nothing, who, family, none)
    seen = (look(others, 2 * rng.normal(size=(2000, FEATURES))) - found["feature_mean"]) / found["feature_scale"]
    missed = seen @ found["feature_weights"] + found["feature_bias"] - others
    said = float(np.trace(found["feature_errors"].sum(0))) / 4
    assert 0.7 < said / float(np.square(missed).mean()) < 1.4


def test_photographs_add_up(model: HeadModel, net: Net) -> None:
    rng, missed = np.random.default_rng(6), []
    for _ in range(60):
        identity = rng.normal(size=net.modes)
        seen = faces(model, identity, net.look(identity, 4))
        found = [identity_prior(model, some) for some in (seen[:1], seen)]
        missed.append([float(np.square(own.mean - identity).mean()) for own in found])
        assert found[0].cost(found[0].mean) == 0 < found[0].cost(identity)
        said = [float(np.trace(np.linalg.inv(own.precision))) / net.modes for own in found]
    one, four = np.mean(missed, 0)
    assert four < 0.75 * one
    # never more sure than right: some that were learnt from showed an expression, these do not
    assert one < 1.2 * said[0] and four < 1.2 * said[1] < 1.2 * said[0]


def test_an_expression_changes_nobody(model: HeadModel, net: Net) -> None:
    """Of what it changes in the features, as large as a person is, a tenth at most is taken for another person."""
    seen = net.look(np.zeros(net.modes), 1)
    both = faces(model, np.zeros(net.modes), np.concatenate([seen, seen + net.motion[:1]]))
    still, moved = (identity_prior(model, [face]).mean for face in both)
    assert np.linalg.norm(moved - still) < 0.1 * np.linalg.norm(net.motion[0]) / 5


def test_a_strange_photograph_says_less(model: HeadModel, net: Net) -> None:
    identity = np.ones(net.modes)
    usual = net.look(identity, 1)
    strange = 6 * (usual - 3) + 3
    known, odd = (identity_prior(model, faces(model, identity, row)) for row in (usual, strange))
    assert np.trace(odd.precision) < 0.5 * np.trace(known.precision)
    both = identity_prior(model, faces(model, identity, np.concatenate([usual, strange])))
    assert np.linalg.norm(both.mean - known.mean) < 0.4 * np.linalg.norm(odd.mean - known.mean)


def test_a_mirror_image_shows_the_mirrored_person(model: HeadModel, net: Net) -> None:
    seen = net.look(np.ones(net.modes), 1)
    swapped = np.roll(seen, FEATURES, 1)
    one, other = (identity_prior(model, faces(model, np.ones(net.modes), row)[:1]).mean for row in (seen, swapped))
    np.testing.assert_allclose(other, one @ net.mirror, atol=0.02)


def test_real_photographs_are_believed_less(model: HeadModel, net: Net) -> None:
    """What one photograph alone says of a person who is known to err more is nearer to anybody, and less sure; the
    estimate is the best one there is when photographs err as is assumed."""
    noise, rng, missed, said = 9.0, np.random.default_rng(8), [], []
    for _ in range(80):
        identity = rng.normal(size=net.modes)
        more = OWN * np.sqrt(noise - 1) * rng.normal(size=net.modes)
        (face,) = faces(model, identity, net.look(identity + more, 1))
        row = []
        for real in (1.0, noise, 1e6):
            row.append(identity_prior(replace(model, feature_inflation=np.array(real)), [face]))
        missed.append([float(np.square(one.mean - identity).mean()) for one in row])
        said.append([float(np.trace(np.linalg.inv(one.precision))) / net.modes for one in row])
    known, right, nobody = np.mean(missed, 0)
    assert right < 0.9 * known and right < 0.9 * nobody
    assert said[0][0] < said[0][1] < said[0][2] and 0.7 < right / np.mean(said, 0)[1] < 1.3


def test_what_one_look_says_is_what_was_learnt(model: HeadModel, net: Net) -> None:
    """Photographs like those that were learnt from leave the regression's own estimate and its own errors."""
    assert model.feature_errors is not None
    (face,) = faces(model, np.ones(net.modes), net.look(np.ones(net.modes), 1))
    found = identity_prior(model, [face])
    np.testing.assert_allclose(np.linalg.inv(found.precision), model.feature_errors.sum(0), rtol=0.01, atol=0.02)


def test_the_fit_is_nearer_for_it(model: HeadModel, net: Net) -> None:
    rng, missed = np.random.default_rng(7), []
    for _ in range(2):
        identity = rng.normal(size=net.modes)
        (face,) = faces(model, identity, net.look(identity, 1))
        face = replace(face, landmarks=face.landmarks + rng.normal(size=(478, 2)) * 12)
        fits = [fit_landmarks(model, [one]).identity for one in (face, replace(face, features=None))]
        missed.append([float(np.linalg.norm(a - identity)) for a in fits])
    assert np.mean(missed, 0)[0] < 0.8 * np.mean(missed, 0)[1]


def test_features_tell_how_landmarks_err(net: Net) -> None:
    """Landmarks that err by what their features tell are understood; one way is that of a face that looks up."""
    rng, tiny = np.random.default_rng(9), tiny_head_model()
    place = at_landmarks(tiny, tiny.neutral.astype(np.float64))
    ways = np.stack([np.c_[0 * place[:, 2], 0.15 * place[:, 2]], 0.004 * np.sin(place[:, :2] * 60)])
    erred, seen = rng.normal(size=(400, 2)), 10 * rng.normal(size=(2, FEATURES))
    identity = rng.normal(size=(400, net.modes))
    mirror = np.diag(np.r_[np.diag(net.mirror), 1, 1])

    def features(identity: Array, erred: Array) -> Array:
        return net.look(identity, 1)[0] + np.tile(erred @ seen, 2)

    looks = np.stack([features(*one) for one in zip(identity, erred, strict=True)])
    goal, nothing, who = np.c_[identity, erred], np.zeros((400, 2)), np.arange(400)
    found: dict[str, Any] = learn_features(looks[:, None], goal, nothing, who, who, mirror)[0]
    model = replace(tiny, landmark_scatter=ways, **found)
    missed = []
    for identity, erred in zip(rng.normal(size=(3, net.modes)), rng.normal(size=(3, 2)), strict=True):
        camera = camera_of(tiny)
        face = face_of(tiny, camera, tiny.shape(identity))
        off = np.tensordot(erred, ways, 1) * [1, -1] * camera.scale
        face = replace(face, landmarks=face.landmarks + off, features=features(identity, erred))
        told = landmark_error_prior(model, face)
        np.testing.assert_allclose(told.mean + told.slope @ identity, erred, atol=0.5)
        untold = replace(model, feature_errors=model.feature_errors + 10 * np.eye(len(goal[0]))[None])  # type: ignore[operator]
        fits = [fit_landmarks(m, [face]).states[0].camera for m in (model, untold)]
        missed.append([abs(own.angles[1] - camera.angles[1]) for own in fits])
    assert np.mean(missed, 0)[0] < 0.5 * np.mean(missed, 0)[1]


def test_errors_given_the_identity(net: Net) -> None:
    """By hand: of two that err by variances 0.5, 0.5 and a covariance of 0.4, one given the other has 0.18."""
    modes, tiny = net.modes, tiny_head_model()
    errors = 0.5 * np.eye(modes + 1)
    errors[0, modes] = errors[modes, 0] = 0.4
    still: dict[str, Any] = {"feature_mean": np.zeros(1), "feature_scale": np.ones(1)}
    still |= {"feature_weights": np.zeros((1, modes + 1)), "feature_inflation": 1.0}
    model = replace(
        tiny, **still, feature_bias=np.r_[1.0, np.zeros(modes)], feature_errors=np.stack([errors, 0 * errors]),
        landmark_scatter=np.zeros((1, 478, 2)),
    )  # fmt: skip
    (face,) = faces(model, np.zeros(modes), np.zeros((1, 1)))
    told = landmark_error_prior(model, face)
    np.testing.assert_allclose(told.slope, np.r_[0.8, np.zeros(modes - 1)][None], atol=1e-6)
    np.testing.assert_allclose([told.mean[0], told.root[0, 0] ** 2], [-0.8, 0.18], atol=1e-6)


def test_nothing_known_is_everybody(net: Net) -> None:
    tiny = tiny_head_model()
    anybody = identity_prior(tiny, faces(tiny, np.zeros(net.modes), np.zeros((1, 2 * FEATURES))))
    np.testing.assert_array_equal(anybody.precision, np.eye(net.modes))
    assert not anybody.mean.any()


def test_the_file_keeps_it(model: HeadModel, tmp_path: Any) -> None:
    save_head_model(model, tmp_path / "head.safetensors")
    again = load_head_model(tmp_path / "head.safetensors")
    assert again.feature_weights is not None and model.feature_weights is not None
    assert again.feature_inflation == model.feature_inflation
    np.testing.assert_allclose(again.feature_weights, model.feature_weights, rtol=1e-3, atol=1e-6)


def test_features_of_another_net_are_refused(model: HeadModel, net: Net, tmp_path: Any) -> None:
    with pytest.raises(UserError) as refused:
        identity_prior(model, faces(model, np.zeros(net.modes), np.zeros((1, 2 * FEATURES + 1))))
    assert refused.value.code == "E_PACK_FORMAT"
    assert model.feature_scale is not None
    for broken in ({"bias": None}, {"scale": 0 * model.feature_scale}, {"inflation": None}, {"inflation": 0.9}):
        changed: dict[str, Any] = {f"feature_{name}": value for name, value in broken.items()}
        save_head_model(replace(model, **changed), tmp_path / "head.safetensors")
        with pytest.raises(UserError) as refused:
            load_head_model(tmp_path / "head.safetensors")
        assert refused.value.code == "E_PACK_FORMAT"
