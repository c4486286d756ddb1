# SPDX-License-Identifier: GPL-3.0-or-later
"""From a video's landmarks to the table of the face's motion.

The person's face is fitted to every frame's landmarks, which gives the head's pose; the landmarks' offsets from the
face at rest and the blendshape net's scores give the shapes (motion.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from idto3d_shared.live_link import SHAPES, FaceTake, take_of

from ..arrays import Array
from ..fit.landmarks import fit_landmarks
from ..headmodel import HeadModel
from ..photos import align
from ..photos.faces import Face
from ..photos.landmarks import extent, upright
from ..photos.nets import FaceNets
from .gaze import LOOK_ROWS, gaze_of_shapes, shapes_of_gaze
from .motion import Motion, features
from .person import Person, person_of
from .shapes import model_of_arkit, read_shapes
from .solve import SIGMA, SIGMA_EXPRESSION, Lens, Pose, Solved, by_head_point, find_lens, first_pose, solve
from .track import Track

_LOOKS, _LENS_LOOKS, _PEOPLE_LOOKS = 32, 8, 8
_ROUNDS = 3
_SIGMA_PLACE = 0.003  # metres: of the landmarks' places on a face that is known
# Gauss-Newton steps for a first frame, and for one that follows another.
_FIRST_STEPS, _STEPS = 8, 4
# eyeBlink from which on the gaze of the frame before is kept.
_CLOSING = 0.4
# Scores below this are ignored before the person's scores at rest are known.
_FLOOR = 0.1
# Quantile of a take's values that is taken for the face at rest, and the most that is subtracted for it.
_RESTING, _MOST_OFF = 0.5, 0.4
_UPRIGHT = 512  # pixels of a face for the fit of the person
_BLINKS = [SHAPES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
# Seconds without a face after which the pose is initialised again.
_GAP = 0.3


def person_in_video(model: HeadModel, track: Track, scores: Array) -> Array:
    """(P,3): the person's face at rest, fitted to some frames of the video; scores (T,52) of the net."""
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
    model: HeadModel, nets: FaceNets, motion: Motion, track: Track, vertices: Array | None,
    told: Callable[[int, int], None],
) -> FaceTake:  # fmt: skip
    """The take of a track in which at least one frame shows a face. vertices (P,3): the person's face at rest, or None:
    it is fitted to the video. told: called with step and steps before each frame."""
    rows = np.flatnonzero(track.seen)
    scores = np.zeros((len(track.times), len(SHAPES)))
    for step, row in enumerate(rows):
        told(step, 2 * len(rows))
        scores[row] = read_shapes(track.points[row], nets)
    person = person_of(model, person_in_video(model, track, scores) if vertices is None else vertices)
    person, lens = calibrate(person, track, scores)
    table = np.zeros((len(track.times), len(SHAPES) + 9))
    values, angles = np.zeros((len(rows), len(SHAPES))), np.zeros((len(rows), 3))
    last, pose = -np.inf, None
    for step, row in enumerate(rows):
        told(len(rows) + step, 2 * len(rows))
        before = pose if track.times[row] - last <= _GAP else None
        last = track.times[row]
        pose = pose_of(person, lens, track.points[row], track.depth[row], scores[row], before).pose
        values[step] = motion.shapes(features(person, lens, pose, track.points[row], scores[row]))
        angles[step] = pose.angles
    shapes, eyes = with_gaze(np.clip(values - at_rest(values), 0.0, 1.0))
    table[rows] = np.c_[shapes, angles, eyes.reshape(-1, 6)]
    return take_of(track.times - track.times[0], table, track.seen)


def calibrate(person: Person, track: Track, scores: Array) -> tuple[Person, Lens]:
    """The person with landmarks moved to where the net reports them in this video, and its lens.

    The net's landmarks have an offset on each face that is the same in all frames.
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
    """(K,3) metres, head axes: the landmarks' offsets from the person's, from all the poses of some frames.

    Least squares with a prior, for each landmark: the depth is determined only by different poses.
    """
    normal = np.tile(np.eye(3) * _SIGMA_PLACE**-2, (len(person.index), 1, 1))
    right = np.zeros((len(person.index), 3))
    for solved in looks:
        by_point, depth = by_head_point(person, lens, solved)
        weight = (lens.focal / depth * SIGMA) ** -2
        normal += weight[:, None, None] * np.swapaxes(by_point, 1, 2) @ by_point
        right -= weight[:, None] * np.einsum("kpc,kp->kc", by_point, solved.residual)
    return np.linalg.solve(normal, right[..., None])[..., 0]


def _spread(track: Track, count: int) -> Array:
    """Some of the frames in which a face is seen, evenly spread."""
    rows = np.flatnonzero(track.seen)
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]


def pose_of(person: Person, lens: Lens, points: Array, depth: Array, scores: Array, before: Pose | None) -> Solved:
    """Pose and a first guess of the expression: landmarks (478,2), depth (478,), scores (52,); before: the pose of the
    frame before, None where there is none."""
    mean = model_of_arkit(person.names) @ (np.maximum(scores - _FLOOR, 0) / (1 - _FLOOR))
    sigma = np.full(len(person.names), SIGMA_EXPRESSION)
    start = before or first_pose(person, lens, points, depth)
    steps = _FIRST_STEPS if before is None else _STEPS
    return solve(person, lens, points[person.index], (start, mean), (mean, sigma), steps)


def at_rest(values: Array) -> Array:
    """(52,) what a take's values (T,52) rest at: the nets see each face a little off, and a face at rest is what is
    seen most."""
    return np.clip(np.quantile(values, _RESTING, axis=0), -_MOST_OFF, _MOST_OFF)


def with_gaze(shapes: Array) -> tuple[Array, Array]:
    """Shapes (T,52) whose eyes look the same way, up and down, and the eyes' turns (T,2,3), radians. While lids close
    the gaze stays what it was: a lid that closes looks like an eye that looks down."""
    shapes, eyes = shapes.copy(), np.zeros((len(shapes), 2, 3))
    gaze = np.zeros((2, 2))
    for n, row in enumerate(shapes):
        if row[_BLINKS].mean() < _CLOSING:
            gaze = gaze_of_shapes(row)
        row[LOOK_ROWS] = shapes_of_gaze(gaze)[LOOK_ROWS]
        eyes[n, :, :2] = gaze
    return shapes, eyes
