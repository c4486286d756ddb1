# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of a video to the table of the face's movements.

The blendshape net was taught on averages: a face that rests with low brows scores as frowning, and one that looks up as
something else again. So the same net is shown the landmarks of this very person at rest, in this very pose, and only
what is more than that counts. That is where the fit of the person's own face to the landmarks begins, and what it may
leave only as far as the landmarks say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idto3d_shared.live_link import SHAPES, FaceTake, take_of

from ..fit.landmarks import fit_landmarks
from ..headmodel import HeadModel
from ..photos import align
from ..photos.faces import Face
from ..photos.landmarks import extent, upright
from ..photos.nets import FaceNets
from .gaze import LOOK_ROWS, gaze_of_shapes, neutral_irises, shapes_of_gaze
from .person import Person, person_of
from .shapes import arkit_of_model, model_of_arkit, read_shapes
from .solve import SIGMA, SIGMA_EXPRESSION, Lens, Pose, Solved, by_head_point, find_lens, first_pose, project, solve
from .track import Track

Array = NDArray[Any]

_LOOKS, _LENS_LOOKS, _PEOPLE_LOOKS = 32, 8, 8
_ROUNDS = 3
_SIGMA_PLACE = 0.003  # metres: of the landmarks' places on a face that is known
# Of the expressions' coefficients around what the net says, where it is not SIGMA_EXPRESSION: lids follow the gaze, and
# of blinks the net knows more than its landmarks show, which hardly ever meet.
_SIGMAS = {"eyeLook": 0.05, "eyeBlink": 0.08}
# The first look at a frame, and one that follows another.
_FIRST_STEPS, _STEPS, _POSE_STEPS = 8, 3, 2
# A closing lid hides the iris, and looks like one that looks down: from this score over the usual one on, the gaze is
# what it was before.
_CLOSING = 0.12
# How much of a score is believed before it is known what the person scores at rest.
_FLOOR = 0.1
_UPRIGHT = 512  # pixels of a face for the fit of the person
_BLINKS = [SHAPES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
# A frame after a gap of so many seconds begins anew.
_GAP = 0.3


def person_in_video(model: HeadModel, track: Track, scores: Array) -> Array:
    """(P,3): the face at rest of whoever is in the video, from some of its frames; scores (T,52) of the net."""
    rows = _spread(track, _PEOPLE_LOOKS)
    names = ("_neutral", *SHAPES)
    faces = []
    for row in rows:
        centre, side = extent(track.points[row])
        to_picture = align.box_transform(centre, 2 * side, _UPRIGHT, upright(track.points[row]))
        blank = np.zeros((1, 1, 3), np.uint8)
        faces.append(
            Face(
                name=f"frame {row}",
                picture=blank,
                inside=np.ones((1, 1), bool),
                to_picture=to_picture,
                landmarks=align.apply(to_picture, track.points[row]),
                landmark_depth=track.depth[row] * _UPRIGHT / (2 * side),
                blendshapes=dict(zip(names, (0.0, *scores[row]), strict=True)),
                person=np.ones((1, 1), np.float32),
                presence=1.0,
                crop=blank,
                grey=False,
                notices=(),
            )
        )
    fitted = fit_landmarks(model, faces)
    return model.shape(fitted.identity) + model.motion(fitted.resting)


def read_track(
    model: HeadModel, nets: FaceNets, track: Track, vertices: Array | None, told: Callable[[int, int], None]
) -> FaceTake:
    """track: with a frame in which a face is seen. vertices (P,3): the person's face at rest, or None: it is taken from
    the video. told: called with step and steps before each frame."""
    rows = np.flatnonzero(track.seen)
    scores = np.zeros((len(track.times), len(SHAPES)))
    for step, row in enumerate(rows):
        told(step, 2 * len(rows))
        scores[row] = read_shapes(track.points[row], nets)
    person = person_of(model, person_in_video(model, track, scores) if vertices is None else vertices)
    person, lens = calibrate(person, track, scores)
    reader = Reader(person, lens, nets, np.median(scores[rows], 0))
    channels = np.zeros((len(track.times), len(SHAPES) + 9))
    last = -np.inf
    for step, row in enumerate(rows):
        told(len(rows) + step, 2 * len(rows))
        if track.times[row] - last > _GAP:
            reader.forget()
        last = track.times[row]
        channels[row] = reader.read(track.points[row], track.depth[row], scores[row])
    return take_of(track.times - track.times[0], channels, track.seen)


def calibrate(person: Person, track: Track, scores: Array) -> tuple[Person, Lens]:
    """The person with the places of the landmarks as the net sees them in this video, and its lens.

    The net sets each landmark a little elsewhere on each face, the same in all frames.
    """
    to_model = model_of_arkit(person.names)
    rows = _spread(track, _LOOKS)
    expected = [to_model @ (np.maximum(scores[row] - _FLOOR, 0) / (1 - _FLOOR)) for row in rows]
    some = np.linspace(0, len(rows) - 1, min(_LENS_LOOKS, len(rows))).round().astype(int)
    lens = find_lens(person, track.size, [(track.points[rows[n]], track.depth[rows[n]], expected[n]) for n in some])
    sigma = np.full(len(person.names), SIGMA_EXPRESSION)
    states: list[tuple[Pose, Array]] = [
        (first_pose(person, lens, track.points[row], track.depth[row]), mean)
        for row, mean in zip(rows, expected, strict=True)
    ]
    for _ in range(_ROUNDS):
        looks = []
        for n, (row, mean) in enumerate(zip(rows, expected, strict=True)):
            solved = solve(person, lens, track.points[row][person.index], states[n], (mean, sigma), _FIRST_STEPS)
            states[n] = solved.pose, solved.expression
            looks.append(solved)
        person = replace(person, neutral=person.neutral + _settled(person, lens, looks))
    return person, lens


def _settled(person: Person, lens: Lens, looks: Sequence[Solved]) -> Array:
    """(K,3) metres, head axes: where the landmarks lie beside the person's, seen from all the poses of some looks.

    Least squares with a prior, landmark by landmark: from one side a depth cannot be told, from several it can.
    """
    normal = np.tile(np.eye(3) * _SIGMA_PLACE**-2, (len(person.index), 1, 1))
    right = np.zeros((len(person.index), 3))
    for solved in looks:
        by_point, depth = by_head_point(person, lens, solved)
        weight = (lens.focal / depth * SIGMA) ** -2
        normal += weight[:, None, None] * np.swapaxes(by_point, 1, 2) @ by_point
        right -= weight[:, None] * np.einsum("kpc,kp->kc", by_point, solved.residual)
    out: Array = np.linalg.solve(normal, right[..., None])[..., 0]
    return out


def _spread(track: Track, count: int) -> Array:
    """Some of the frames in which a face is seen, evenly spread."""
    rows = np.flatnonzero(track.seen)
    out: Array = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]
    return out


def _sigma(name: str) -> float:
    """Of an expression's coefficient around what the net says."""
    return next((sigma for stem, sigma in _SIGMAS.items() if name.startswith(stem)), SIGMA_EXPRESSION)


class Reader:
    """Frame after frame; each begins where the one before has ended."""

    def __init__(self, person: Person, lens: Lens, nets: FaceNets, usual: Array) -> None:
        """usual: (52,) scores of most frames."""
        self._usual = usual[_BLINKS].mean()
        self._person, self._lens, self._nets = person, lens, nets
        self._to_arkit, self._to_model = arkit_of_model(person.names), model_of_arkit(person.names)
        self._sigma = np.array([_sigma(name) for name in person.names])
        self._irises = neutral_irises(person)
        self._state: tuple[Pose, Array] | None = None
        self._gaze = np.zeros((2, 2))

    def forget(self) -> None:
        """The next frame does not follow the one before."""
        self._state = None

    def read(self, points: Array, depth: Array, scores: Array) -> Array:
        """(61,) channels of a frame: landmarks (478,2), depth (478,), scores (52,) of the net."""
        person, lens, q = self._person, self._lens, points[self._person.index]
        fresh = self._state is None
        start = self._state or (first_pose(person, lens, points, depth), self._to_model @ scores)
        pose = solve(person, lens, q, start, None, _FIRST_STEPS if fresh else _POSE_STEPS).pose
        if scores[_BLINKS].mean() < self._usual + _CLOSING:
            self._gaze = gaze_of_shapes(scores)
        mean = self._expected(pose, self._gaze, points, scores)
        begin = (pose, mean if fresh else start[1])
        solved = solve(person, lens, q, begin, (mean, self._sigma), _FIRST_STEPS if fresh else _STEPS)
        self._state = solved.pose, solved.expression
        shapes = np.clip(self._to_arkit @ solved.expression, 0.0, 1.0)
        shapes[LOOK_ROWS] = shapes_of_gaze(self._gaze)[LOOK_ROWS]
        eyes = np.c_[self._gaze, np.zeros(2)]
        return np.concatenate([shapes, solved.pose.angles, eyes.ravel()])

    def _expected(self, pose: Pose, gaze: Array, points: Array, scores: Array) -> Array:
        """(E,) what the net says beyond what it says of the same face at rest, in the same pose, looking there."""
        person, lens = self._person, self._lens
        looking = shapes_of_gaze(gaze)
        rest = points.copy()
        rest[person.index] = project(person.moved(self._to_model @ looking), person, pose, lens)
        rest[len(points) - len(self._irises) :] = project(self._irises, person, pose, lens)
        base = np.minimum(read_shapes(rest, self._nets), 0.9)
        shapes = np.where(LOOK_ROWS, looking, np.clip((scores - base) / (1 - base), 0.0, 1.0))
        out: Array = self._to_model @ shapes
        return out
