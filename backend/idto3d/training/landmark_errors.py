# SPDX-License-Identifier: GPL-3.0-or-later
"""How the landmark net errs, asked of photographs whose truth is known.

It was taught what faces are like, too: of what a person differs from the mean head it reports some six tenths, of some
modes more than of others, and its landmarks err together, not each for itself. A fit that knows that comes nearer to
the head (`fit.landmarks`): the net's report is a linear function of the head with correlated Gaussian noise, and the
fit its posterior mean. The net's features explain half of that noise's variance on people left out (`learn_features`),
above all the error of the head's pitch, of which landmarks alone show five sixths.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.linalg import block_diag
from scipy.optimize import linear_sum_assignment

from ..arrays import Array
from ..errors import UserError
from ..expressions import EXPRESSIONS
from ..headmodel import HeadModel
from ..photos import Face, FaceNets, Photo, align, find_face
from .data import DataConfig, each, nets_of, population_of
from .feature_identity import learn_features, mirrored_modes
from .looks import looks_of
from .photographs import Photograph, take_photograph, varied_setting
from .population import Person, Population
from .regions import Regions
from .registration import similarity

FIRST_SEED = 1_610_000  # people that no net is trained on and none is judged by
WITHOUT = "feature_weights_without.npy"  # (FOLDS,F,L): `feature_weights` learnt without the people of each fold
PHOTOS, SIBLINGS = 2, 14
"""Of each person; people besides with the same skin, of each of whom there is one: their pictures cost a third."""
PICTURE = 320  # pixels: as large as the net sees them
WAYS = 80  # in which landmarks err together; on other people more of them help no further
USUAL_RESPONSE, SURE = 0.6, 300.0  # prior of what it reports of a mode, as many photographs as that is worth
SHIFT_RIDGE = 1.0  # photographs
POINT = 0.003  # metres: what modes may leave of a face's point


@dataclass(frozen=True, eq=False)
class Report:
    """What the net reports of one photograph. offset (478,2) metres, right and up in the picture: from the mean head's
    landmarks, in the person's pose and expression; identity (M,) of the person; expression (E,) of the face; axes
    (2,3): right and up; looks (L,2F): their features; sibling: which one, 0 the person."""

    offset: Array
    identity: Array
    expression: Array
    axes: Array
    looks: Array
    sibling: int = 0


def report_of(regions: Regions, photograph: Photograph, neutral: Array, face: Face, features: Array) -> Report:
    """neutral (P,3) of the person; the face as it was found in the photograph, and its looks' features."""
    landmarks = align.apply(align.invert(face.to_picture), face.landmarks)
    model, camera = regions.model, photograph.camera
    mean = model.neutral.astype(np.float64)
    pixel, height = camera.project(model.landmarks(photograph.posed))
    missed = (landmarks - pixel) * [1, -1] * (1 - camera.inverse_distance * height)[:, None] / camera.scale
    identity, aligned = in_modes(regions, neutral)
    axes = camera.rotation[:2]
    setting = photograph.setting
    expression = setting.strength * model.expression_vector(EXPRESSIONS[setting.expression].weights)
    offset = missed + (model.landmarks(aligned) - model.landmarks(mean)) @ axes.T
    return Report(offset, identity, expression, axes, features)


def in_modes(regions: Regions, neutral: Array) -> tuple[Array, Array]:
    """(M,) the modes that say a face (P,3) best, and the head moved and scaled to where they have it."""
    face = regions.face
    mean = regions.model.neutral[face].astype(np.float64)
    modes = regions.model.identity[:, face].astype(np.float64)
    flat = modes.reshape(len(modes), -1)
    normal = flat @ flat.T / POINT**2 + np.eye(len(modes))
    identity: Array = np.zeros(len(modes))
    for _ in range(3):
        aligned = similarity(neutral[face], mean + np.tensordot(identity, modes, 1))(neutral)
        identity = np.linalg.solve(normal, flat @ (aligned[face] - mean).ravel() / POINT**2)
    return identity, np.asarray(aligned)


def sight(population: Population, nets: FaceNets, regions: Regions, seed: int) -> list[Report]:
    """What the nets report of portraits of a person and of siblings, of each of whom there is one."""
    person, rng, out = population.person(seed), np.random.default_rng([seed, 2]), []
    for number in range(SIBLINGS + 1):
        own = population.sibling(person, number) if number else person
        for photograph, face in portraits(population, nets, own, number):
            report = report_of(regions, photograph, own.neutral, face, looks_of(face, nets, rng).astype(np.float16))
            out.append(replace(report, sibling=number))
    return out


def portraits(
    population: Population, nets: FaceNets, person: Person, sibling: int
) -> Iterator[tuple[Photograph, Face]]:
    """Casual portraits of a person (0) or of one of their siblings, those in which the nets find the face."""
    dressed, rng = population.dressed(person), np.random.default_rng([person.seed, 1, sibling])
    for _ in range(1 if sibling else PHOTOS):
        photograph = take_photograph(population, dressed, varied_setting(rng), PICTURE)
        try:
            face = find_face(Photo(photograph.image, str(person.seed)), nets)
        except UserError:
            continue
        yield photograph, face


def learn_errors(model: HeadModel, reports: Sequence[Report]) -> tuple[dict[str, Array], Array, Array]:
    """landmark_identity, landmark_shift and landmark_scatter of a `HeadModel`; (N,R) how much each report errs in each
    way of the last; (R,R), with which it is how much the mirror image errs."""
    offset, identity, axes = (np.stack([getattr(r, name) for r in reports]) for name in ("offset", "identity", "axes"))
    count, modes = identity.shape
    usual = np.stack([USUAL_RESPONSE * model.landmarks(mode.astype(np.float64)) for mode in model.identity])
    known = np.c_[np.ones(count), identity]
    prior = np.concatenate([np.zeros_like(usual[:1]), usual])
    columns = np.einsum("nf,npc->npfc", known, axes).reshape(2 * count, -1)
    ridge = np.repeat(np.r_[SHIFT_RIDGE, np.full(modes, SURE)], 3)

    def said(fields: Array) -> Array:
        flat = columns @ fields.transpose(0, 2, 1).reshape(columns.shape[1], -1)
        return flat.reshape(count, 2, -1).transpose(0, 2, 1)

    left = (offset - said(prior)).transpose(0, 2, 1).reshape(2 * count, -1)
    found = np.linalg.solve(columns.T @ columns + np.diag(ridge), columns.T @ left)
    fields = prior + found.reshape(len(prior), 3, -1).transpose(0, 2, 1)
    left = offset - said(fields)
    trust = model.landmark_trust.astype(np.float64)
    sure = trust > 0
    places = model.landmarks(model.neutral.astype(np.float64))
    mirrored = _mirrored_landmarks(places[sure])
    free = np.stack([_less_place(one[sure], a, places[sure], trust[sure]) for one, a in zip(left, axes, strict=True)])
    both = np.concatenate([free, mirrored(free)]).reshape(2 * count, -1)
    squares, ways = np.linalg.eigh(both.T @ both / len(both))
    some = min(WAYS, int((squares > 1e-9 * squares.max()).sum()))
    spread, ways = np.sqrt(squares[: -some - 1 : -1]), ways[:, : -some - 1 : -1].T
    scatter = np.zeros((some, len(places), 2))
    scatter[:, sure] = (spread[:, None] * ways).reshape(some, -1, 2)
    amount = (ways / spread[:, None]).T  # (2K,R) of each way in landmarks' errors
    found_errors = {
        "landmark_identity": fields[1:].astype(np.float32),
        "landmark_shift": np.where(sure[:, None], fields[0], 0.0).astype(np.float32),
        "landmark_scatter": scatter.astype(np.float32),
    }
    return found_errors, both[:count] @ amount, mirrored(scatter[:, sure]).reshape(some, -1) @ amount


def people_of(config: DataConfig) -> range:
    """Seeds of those whom errors and shading are learnt from."""
    return range(FIRST_SEED, FIRST_SEED + config.families)


def find_errors(config: DataConfig) -> dict[str, Array]:
    """What `learn_errors` and `learn_features` find; the folds' weights go to `WITHOUT`."""
    reports, family = [], []
    for file in each(config, "reports", people_of(config), _reports):
        with np.load(file) as stored:
            own = [Report(*rows) for rows in zip(*(stored[f.name] for f in fields(Report)), strict=True)]
        reports += own
        family += len(own) * [int(file.stem)]
    features, identity, expression = (
        np.stack([getattr(r, name) for r in reports]) for name in ("looks", "identity", "expression")
    )
    model = population_of(config).model
    found, erred, swapped = learn_errors(model, reports)
    mirror, goal = block_diag(mirrored_modes(model), swapped), np.c_[identity, erred]
    person = (1 + SIBLINGS) * np.array(family) + [report.sibling for report in reports]
    said, without = learn_features(features, goal, expression, person, np.array(family), mirror)
    np.save(config.work / WITHOUT, without.astype(np.float16))
    return {**found, **said}


def _reports(config: DataConfig, seed: int) -> dict[str, Array]:
    population = population_of(config)
    own = sight(population, nets_of(config), Regions(population.model), seed)
    return {f.name: np.array([getattr(r, f.name) for r in own]) for f in fields(Report)}


def _mirrored_landmarks(places: Array) -> Callable[[Array], Array]:
    """From errors (N,K,2) of the mean head's landmarks (K,3) to those of a mirror image's."""
    far = np.linalg.norm(places[:, None] * [-1, 1, 1] - places, axis=2)
    _, other = linear_sum_assignment(far)
    return lambda errors: errors[:, other] * [-1, 1]


def _less_place(missed: Array, axes: Array, places: Array, trust: Array) -> Array:
    """(K,2) without what another place in the picture explains: shift, scale, roll (Gauss-Newton's first step)."""
    weight = trust / trust.sum()
    point = (places - weight @ places) @ np.vstack([axes, np.cross(*axes)]).T
    flat, none = point[:, :2], np.zeros(len(point))
    turned = np.c_[-flat[:, 1], flat[:, 0]]
    ways = (np.c_[none + 1, none], np.c_[none, none + 1], flat, turned)
    basis, w = np.stack([way.ravel() for way in ways], 1), np.repeat(weight, 2)
    normal = basis.T @ (basis * w[:, None]) + 1e-12 * np.eye(len(ways))
    return missed - (basis @ np.linalg.solve(normal, basis.T @ (w * missed.ravel()))).reshape(missed.shape)
