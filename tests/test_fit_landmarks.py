# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of heads of which everything is known: the fit finds them, or refuses; it never tears a head."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from idto3d.arrays import Array
from idto3d.errors import UserError
from idto3d.fit import landmarks as fit_room
from idto3d.fit.check import IMPLAUSIBLE
from idto3d.fit.distance import INVERSE_DISTANCE, INVERSE_DISTANCE_LIMITS, likely_distance
from idto3d.fit.landmarks import (
    SIGMA,
    SIGMA_EXPRESSION,
    LandmarkFit,
    PhotoState,
    fit_landmarks,
    refit_with,
)
from idto3d.fit.subject import fit_subject
from idto3d.headmodel import HeadModel
from idto3d.mesh.surface import edges_of
from idto3d.photos.faces import Face
from idto3d.training.camera_distance import told_by_landmarks
from tests.synthetic_face import SIZE, camera_of, face_of, with_exact_net

VIEWS = ((0.0, 0.0), (35.0, 0.0), (-35.0, 5.0), (0.0, -20.0))  # yaw and pitch
GRIMACE = {"jawOpen": 0.5, "mouthSmile": 0.4, "browInnerUp": 0.6}


@pytest.fixture(scope="module", params=["tiny", "starter"])
def model(request: pytest.FixtureRequest, tiny: HeadModel, starter: HeadModel) -> HeadModel:
    return tiny if request.param == "tiny" else with_exact_net(starter)


def person(model: HeadModel, seed: int, strength: float = 0.5) -> Array:
    return np.random.default_rng(seed).normal(size=len(model.identity)) * strength


def told(model: HeadModel, weights: Array) -> dict[str, float]:
    """What the blendshape net would say: ARKit's names."""
    names = (n.replace("_L", "Left").replace("_R", "Right") for n in model.expression_names)
    return {name: float(w) for name, w in zip(names, weights, strict=True)}


def scattered(face: Face, share: float, seed: int = 0) -> Face:
    """The face with a share of its landmarks anywhere in the picture."""
    rng = np.random.default_rng(seed)
    rows = rng.random(478) < share
    landmarks, depth = face.landmarks.copy(), face.landmark_depth.copy()
    landmarks[rows], depth[rows] = rng.uniform(0, SIZE, (rows.sum(), 2)), rng.normal(0, 30, rows.sum())
    return replace(face, landmarks=landmarks, landmark_depth=depth)


def off(model: HeadModel, found: Array, truth: Array) -> float:
    """Root mean square distance (metres) of two faces, one turned, moved and scaled onto the other: a photo does not
    say how large a head is."""
    rows = model.vertices_of("face")
    a, b = (x[rows] - x[rows].mean(0) for x in (found, truth))
    turn, _ = Rotation.align_vectors(b, a)
    a = turn.apply(a)
    return float(np.sqrt(((a * (a * b).sum() / (a * a).sum() - b) ** 2).sum(1).mean()))


def worst_stretch(model: HeadModel, found: Array) -> float:
    """How much the length of an edge of the face has changed at most, against the whole mean head."""
    edges = edges_of(model.triangles_of("face"))
    before, after = (np.linalg.norm(x[edges[:, 0]] - x[edges[:, 1]], axis=1) for x in (model.neutral, found))
    long = before > np.quantile(before, 0.2)
    return float(np.abs(np.log(after[long] / before[long])).max())


def test_head_expression_and_camera_are_recovered(model: HeadModel) -> None:
    identity, weights = person(model, 1), model.expression_vector(GRIMACE)
    camera = camera_of(model, yaw=20, pitch=-10, roll=8)
    face = face_of(model, camera, model.shape(identity) + model.motion(weights), blendshapes=told(model, weights))
    fit = fit_landmarks(model, [face])
    assert fit.residual[0] < 0.0003
    found = fit.states[0]
    np.testing.assert_allclose(found.expression, weights, atol=0.1)
    np.testing.assert_allclose(found.camera.angles, camera.angles, atol=5)
    assert off(model, model.shape(fit.identity), model.shape(identity)) < 0.0016
    mean = off(model, model.neutral.astype(np.float64), model.shape(identity))
    assert off(model, model.shape(fit.identity), model.shape(identity)) < 0.75 * mean


@pytest.mark.parametrize("distance", [0.35, 0.6, 4.0])
def test_the_focal_length_that_a_camera_noted_tells_its_distance(model: HeadModel, distance: float) -> None:
    camera = camera_of(model, 10, distance=distance)
    face = face_of(model, camera, model.shape(person(model, 7)))
    found = fit_landmarks(model, [replace(face, focal=camera.focal)]).states[0].camera
    assert 1 / found.inverse_distance == pytest.approx(np.linalg.norm(camera.position - found.centre), rel=0.08)


def test_a_focal_length_that_would_have_the_camera_in_the_face_is_a_crops(tiny: HeadModel) -> None:
    camera = camera_of(tiny, distance=1.0)
    face = face_of(tiny, camera, tiny.shape(person(tiny, 7)))
    plain, cropped = (fit_landmarks(tiny, [f]) for f in (face, replace(face, focal=camera.focal / 6)))
    np.testing.assert_array_equal(plain.identity, cropped.identity)


def test_a_camera_is_as_far_as_those_whose_landmarks_said_the_same(tiny: HeadModel) -> None:
    face = face_of(tiny, camera_of(tiny, distance=0.8), tiny.shape(person(tiny, 7)))
    alone = told_by_landmarks(tiny, face)
    assert alone == pytest.approx(1.25, abs=0.25), "nothing errs here"
    for offset, slope, told in ((0.7, 1.5, 1.5 * alone + 0.7), (0.9, 0.0, 0.9)):
        model = replace(tiny, landmark_distance=np.array([offset, slope]))
        fit = fit_landmarks(model, [face])
        likely = likely_distance(told)
        assert fit.states[0].camera.inverse_distance == pytest.approx(likely.mean, abs=3 * likely.sigma)
        again = refit_with(model, [face], fit)
        assert again.states[0].distance == fit.states[0].distance, "what follows keeps it"


def test_a_focal_length_that_landmarks_contradict_is_not_the_photographs(tiny: HeadModel) -> None:
    """A crop that kept the shape of the whole has the whole's, and would bring the camera nearer."""
    camera = camera_of(tiny, distance=0.8)
    face = face_of(tiny, camera, tiny.shape(person(tiny, 7)))
    model = replace(tiny, landmark_distance=np.array([0.0, 1.0]))
    for distance, believed in ((0.8, True), (0.62, True), (0.3, False)):
        noted = replace(face, focal=camera.scale * distance)
        found = fit_landmarks(model, [noted]).states[0].distance
        assert (found.sigma == pytest.approx(0.06 * found.mean)) == believed, distance
        assert not believed or found.mean == pytest.approx(1 / distance, rel=0.15)


def test_a_photograph_is_taken_from_where_most_are_unless_landmarks_say_that_it_is_a_selfie() -> None:
    usual, near = likely_distance(0.7), likely_distance(3.0)
    assert usual.mean == pytest.approx(INVERSE_DISTANCE, abs=0.05) and usual.sigma > 0.28
    assert 2.5 < near.mean < 3.0 and near.sigma < 0.11
    told = [likely_distance(float(t)) for t in np.linspace(1.0, 4.0, 101)]
    assert (np.diff([one.mean for one in told]) >= 0).all() and (np.diff([one.sigma for one in told]) < 0).all()
    for extreme in (-50.0, 50.0):
        assert INVERSE_DISTANCE <= likely_distance(extreme).mean <= INVERSE_DISTANCE_LIMITS[1]


def test_more_steps_change_nothing(tiny: HeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    face = face_of(tiny, camera_of(tiny, 25, 5), tiny.shape(person(tiny, 2)))
    some = fit_landmarks(tiny, [face])
    monkeypatch.setattr(fit_room, "STEPS", 60)
    many = fit_landmarks(tiny, [face])
    np.testing.assert_allclose(some.identity, many.identity, atol=0.02)


@pytest.mark.parametrize("roll", [0.0, 150.0, 180.0])
@pytest.mark.parametrize("zoom", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("share", [0.0, 1 / 3])
def test_a_wild_photo_is_understood_or_refused(model: HeadModel, roll: float, zoom: float, share: float) -> None:
    identity = person(model, 3)
    camera = camera_of(model, 15, -8, roll)
    camera = replace(camera, scale=camera.scale * zoom)
    face = scattered(face_of(model, camera, model.shape(identity)), share)
    try:
        fit = fit_subject(model, [face]).fit
    except UserError as refused:
        assert refused.code in ("E_FIT_RESIDUAL", "E_FIT_IMPLAUSIBLE") and share > 0
    else:
        assert share == 0
        assert off(model, fit.neutral(model), model.shape(identity)) < 0.003


@pytest.mark.parametrize("error", [0.002, 0.004])
def test_what_is_not_refused_is_not_torn(model: HeadModel, error: float) -> None:
    """A third of the landmarks off by as much as a photo may be off and still be used."""
    rng = np.random.default_rng(4)
    identity, camera = person(model, 4), camera_of(model, 10)
    face = face_of(model, camera, model.shape(identity))
    noise = rng.normal(0, error * camera.scale, (478, 2)) * (rng.random((478, 1)) < 1 / 3)
    fit = fit_subject(model, [replace(face, landmarks=face.landmarks + noise)]).fit
    assert np.sqrt((fit.identity**2).mean()) < IMPLAUSIBLE
    assert off(model, fit.neutral(model), model.shape(identity)) < 0.003
    own = worst_stretch(model, model.shape(identity) + model.motion(fit.resting))
    assert worst_stretch(model, fit.neutral(model)) < own + 0.9


@pytest.mark.parametrize("far", [5.0, 40.0, 1000.0])
def test_one_landmark_far_off_hardly_moves_the_fit(model: HeadModel, far: float) -> None:
    """Huber: its pull does not grow with its distance (pixels)."""
    face = face_of(model, camera_of(model, 10), model.shape(person(model, 5)))
    landmarks = face.landmarks.copy()
    landmarks[61, 0] += far
    good, bad = (fit_landmarks(model, [f]) for f in (face, replace(face, landmarks=landmarks)))
    rows = model.vertices_of("face")
    moved = np.linalg.norm(model.shape(bad.identity) - model.shape(good.identity), axis=1)[rows]
    assert 0 < moved.max() < 0.0006


def test_the_cost_is_hubers_for_landmarks_and_square_for_priors(
    tiny: HeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_room, "MORE_STEPS", 0)  # only the cost of what is given
    camera = camera_of(tiny, distance=1 / INVERSE_DISTANCE)
    identity, expression = person(tiny, 6), np.zeros(len(tiny.expression_names))

    def cost(identity: Array, expression: Array, aside: float = 0.0) -> float:
        face = face_of(tiny, camera, tiny.shape(identity) + tiny.motion(expression))
        landmarks = face.landmarks.copy()
        landmarks[4, 0] += aside * SIGMA * camera.scale
        state = PhotoState(camera, expression, np.zeros(len(expression)))
        before = LandmarkFit(identity, expression, (state,), (0.0,), 0.0)
        return refit_with(tiny, [replace(face, landmarks=landmarks)], before).cost

    zero = np.zeros_like(identity)
    for times in (1.0, 3.0, 30.0):
        assert cost(times * identity, expression) == pytest.approx(0.5 * times**2 * (identity**2).sum(), rel=1e-4)
    one = tiny.expression_vector({"jawOpen": 1.0})
    for times in (0.1, 1.0):
        assert cost(zero, times * one) == pytest.approx(0.5 * (times / SIGMA_EXPRESSION) ** 2, rel=1e-4)
    for sigmas, huber in ((1.0, 0.5), (2.0, 2.0), (10.0, 2 * (10 - 1)), (100.0, 2 * (100 - 1))):
        assert cost(zero, expression, sigmas) == pytest.approx(huber, rel=1e-4)


def noisy(model: HeadModel, identity: Array, seed: int, weights: Array | None = None) -> list[Face]:
    rng = np.random.default_rng(seed)
    posed = model.shape(identity) + (0.0 if weights is None else model.motion(weights))
    faces = [face_of(model, camera_of(model, *view), posed) for view in VIEWS]
    return [replace(f, landmarks=f.landmarks + rng.normal(0, 1.0, (478, 2))) for f in faces]


def test_several_photos_share_one_head_and_know_it_better(model: HeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_room, "SIGMA", 0.002)  # a pixel of noise is 1.5 mm each way
    errors = []
    for seed in range(3):
        identity = person(model, 10 + seed, 0.6)
        faces = noisy(model, identity, seed)
        fits = [fit_landmarks(model, faces[:n]) for n in (1, 2, 4)]
        assert fits[-1].identity.shape == identity.shape and len(fits[-1].states) == 4
        errors.append([off(model, model.shape(fit.identity), model.shape(identity)) for fit in fits])
    one, two, four = np.mean(errors, 0)
    assert four < one and two < 1.2 * one
    assert four < 0.8 * one


def test_a_blurred_small_photo_beside_a_fine_one_does_no_harm(model: HeadModel) -> None:
    """Two of them, whose landmarks are off by 9 mm."""
    errors = []
    for seed in range(3):
        identity = person(model, 20 + seed, 0.6)
        fine, *small = noisy(model, identity, seed)[:3]
        rng = np.random.default_rng(seed)
        small = [
            replace(f, landmarks=f.landmarks + rng.normal(0, 6.0, (478, 2)), to_picture=f.to_picture * 8) for f in small
        ]
        fits = [fit_landmarks(model, faces).identity for faces in ([fine], [fine, *small])]
        errors.append([off(model, model.shape(a), model.shape(identity)) for a in fits])
    alone, beside = np.mean(errors, 0)
    assert beside < 1.05 * alone


def test_each_photo_has_its_own_expression(tiny: HeadModel) -> None:
    identity, open_ = person(tiny, 7), tiny.expression_vector({"jawOpen": 0.8})
    still = face_of(tiny, camera_of(tiny), tiny.shape(identity))
    wide = face_of(tiny, camera_of(tiny, 20), tiny.shape(identity) + tiny.motion(open_), blendshapes={"jawOpen": 0.8})
    fit = fit_landmarks(tiny, [still, wide])
    jaw = tiny.expression_names.index("jawOpen")
    assert fit.states[0].expression[jaw] < 0.1 and fit.states[1].expression[jaw] == pytest.approx(0.8, abs=0.15)
    assert off(tiny, tiny.shape(fit.identity), tiny.shape(identity)) < 0.0005


def test_what_a_face_does_at_rest_belongs_to_the_head(model: HeadModel) -> None:
    """Lids that hang in every photo, which the blendshape net does not take for blinking, are how the eyes are."""
    weights = model.expression_vector({"eyeBlink": 0.4})
    sleepy = [replace(f, blendshapes={}) for f in noisy(model, person(model, 8), 8, weights)]
    rows = [model.expression_names.index(f"eyeBlink_{side}") for side in "LR"]
    hang = fit_landmarks(model, sleepy).resting[rows]
    winking = [replace(f, blendshapes={"eyeBlinkLeft": 0.45, "eyeBlinkRight": 0.45}) for f in sleepy]
    told_so = fit_landmarks(model, winking).resting[rows]
    assert (hang > 0.02).all() and (hang > 3 * np.abs(told_so)).all()
    fit = fit_subject(model, sleepy).fit
    np.testing.assert_allclose(
        fit.neutral(model), model.shape(fit.identity) + fit.displacement + model.motion(fit.resting), atol=1e-9
    )
    # a full blink ends where it would for anybody: what hangs already is not added
    full = model.expression_vector({"eyeBlink": 1.0})
    end = model.shape(fit.identity) + fit.displacement + model.motion(np.where(full > 0, full, fit.resting))
    np.testing.assert_allclose(fit.neutral(model) + fit.offset(model, full), end, atol=1e-6)


def test_narrow_eyes_are_how_a_face_rests_though_the_net_sees_a_squint(model: HeadModel) -> None:
    scores = {f"{stem}{side}": 0.45 for stem in ("eyeBlink", "eyeSquint") for side in ("Left", "Right")}
    faces = noisy(model, person(model, 8), 8, model.expression_vector({"eyeBlink": 0.4}))
    narrow = [replace(f, blendshapes=scores) for f in faces]
    names = tuple(name.replace("eyeBlink", "eyeSquint") for name in model.expression_names)
    rows = [names.index(f"eyeSquint_{side}") for side in "LR"]
    shut, squinted = (fit_landmarks(m, narrow) for m in (model, replace(model, expression_names=names)))
    assert (squinted.resting[rows] > 0.02).all() and (squinted.resting[rows] > 3 * np.abs(shut.resting[rows])).all()


def test_a_smile_says_little_of_cheeks_at_rest_and_less_beside_a_calm_photo(model: HeadModel) -> None:
    raised = noisy(model, person(model, 8), 8, model.expression_vector({"mouthSmile": 0.4}))
    calm, smiling = (
        [replace(f, blendshapes={f"mouthSmile{side}": score for side in ("Left", "Right")}) for f in raised]
        for score in (0.0, 0.9)
    )
    rows = [model.expression_names.index(f"mouthSmile_{side}") for side in "LR"]
    rests = fit_landmarks(model, calm).resting[rows]
    assert (rests > 0.02).all() and np.abs(fit_landmarks(model, smiling).resting[rows]).max() < 0.2 * rests.min()
    assert (fit_landmarks(model, calm + smiling).resting[rows] > 0.8 * rests).all()


def nobody(faces: Sequence[Face]) -> Face:
    return replace(scattered(faces[0], 1.0, 9), name="nobody.png")


def test_a_photo_that_no_head_explains_is_left_out(model: HeadModel) -> None:
    identity = person(model, 9)
    faces = noisy(model, identity, 9)
    fitted = fit_subject(model, [faces[0], nobody(faces), *faces[1:]])
    (notice,) = fitted.notices
    assert notice.code == "W_PHOTO_SKIPPED" and "nobody.png" in notice.message
    assert len(fitted.faces) == len(fitted.fit.photos) == len(fitted.projected) == 4
    assert off(model, fitted.fit.neutral(model), model.shape(identity)) < 0.003
    np.testing.assert_array_equal(fitted.fit.identity, fit_subject(model, faces).fit.identity)
    assert all(0 < photo.weight <= 1 for photo in fitted.fit.photos)


def test_alone_it_is_refused(model: HeadModel) -> None:
    with pytest.raises(UserError, match="nobody.png") as refused:
        fit_subject(model, [nobody(noisy(model, person(model, 9), 9))])
    assert refused.value.code == "E_FIT_RESIDUAL" and refused.value.fix


def test_a_head_that_nobody_has_is_refused(tiny: HeadModel) -> None:
    faces = [face_of(tiny, camera_of(tiny, *v), tiny.shape(np.array([3.0, -3, 3, 3, -3, 3]))) for v in VIEWS]
    with pytest.raises(UserError) as refused:
        fit_subject(tiny, faces)
    assert refused.value.code == "E_FIT_IMPLAUSIBLE"


def test_an_enlarged_photo_counts_for_less(model: HeadModel) -> None:
    first, second = noisy(model, person(model, 9), 9)[:2]
    small = replace(second, to_picture=3.0 * second.to_picture)
    fine, coarse = fit_subject(model, [first, small]).fit.photos
    assert coarse.weight < 0.2 * fine.weight
