# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the joints of a head lie, and how its skin hangs on them: read off the mesh and its keys. No bpy.

The frame is the mesh's: metres, Z up, facing -Y, origin at the neck's base (see frame.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

EYEBALLS = ("eyeballs", "sclera", "iris", "cornea", "pupil")
INSIDE_JAW = ("teeth", "gums", "tongue")
JAW_KEYS = ("jawOpen", "mouth_stretch")
"""The key that opens the jaw: ARKit's, or the paper's in heads that have none of ARKit's."""
_JAW_ANGLE = 0.44  # radians that a jaw opens where no key says it
_LEAST_ANGLE = 0.1
_EYE_ANGLES = {"Up": 0.44, "Down": 0.52, "In": 0.61, "Out": 0.61}
_BELOW_BASE = 0.03  # metres: how far into the shoulders the neck's bend reaches
_BELOW_CHIN = 0.005
_LEAST_SHARE = 0.02


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Places (3,) metres: ``skull`` where the head turns on the neck, ``crown``, ``jaw`` the joint, ``chin``; ``eyes``:
    "L" and "R" -> centre of the eyeball; jaw_angle: radians at which the opening key is at 1; eye_angles: (side,
    direction) -> radians at which that eyeLook key is at 1."""

    skull: Array
    crown: Array
    jaw: Array
    chin: Array
    eyes: Mapping[str, Array]
    jaw_angle: float
    eye_angles: Mapping[tuple[str, str], float]


def measure(points: Array, members: Mapping[str, NDArray[np.integer]], offsets: Mapping[str, Array]) -> Anatomy:
    """points (V,3): the neutral head without hair having a say; members: part -> numbers of its vertices; offsets: key
    -> (V,3)."""
    skin = _of(members, ("face", "back_head"), np.arange(len(points)))
    high, low = points[skin].max(axis=0), points[skin].min(axis=0)
    eyes = {}
    balls = _of(members, EYEBALLS, np.zeros(0, int))
    for side, sign in (("L", 1.0), ("R", -1.0)):
        own = balls[sign * points[balls, 0] > 0]
        if len(own) >= 4:
            eyes[side] = _sphere_centre(points[own])
    jaw, chin, angle = _jaw(points, members, offsets, skin)
    if jaw is None:
        jaw = np.array([0.0, (2 * high[1] + low[1]) / 3, 0.42 * high[2]])
    # The first vertebra lies a finger behind the jaw's joint, and a little lower.
    skull = np.array([0.0, jaw[1] + 0.2 * (high[1] - jaw[1]), jaw[2] - 0.04 * high[2]])
    crown = np.array([0.0, skull[1], high[2]])
    angles = {}
    for side in eyes:
        for way, usual in _EYE_ANGLES.items():
            offset = offsets.get(f"eyeLook{way}{'Left' if side == 'L' else 'Right'}")
            own = balls[(points[balls, 0] > 0) == (side == "L")]
            turned = 0.0 if offset is None else rigid(points[own], points[own] + offset[own])[2]
            angles[side, way] = turned if turned > _LEAST_ANGLE else usual
    return Anatomy(skull, crown, jaw, chin, eyes, angle, angles)


def weights(anatomy: Anatomy, points: Array, members: Mapping[str, NDArray[np.integer]]) -> dict[str, Array]:
    """Bone -> (V,) weight, which add up to 1: ``root`` (shoulders), ``neck``, ``head``, ``eye.L``, ``eye.R``.

    The bend lies between the neck's base and a slope from under the chin to the nape: what is in the head, and all of
    the face, is the head's alone. A part without a name, the user's own mesh, is all of it.
    """
    front, back = anatomy.chin[1], float(points[:, 1].max())
    slope = (anatomy.skull[2] - anatomy.chin[2] + _BELOW_CHIN) / max(back - front, 1e-3)
    top = anatomy.chin[2] - _BELOW_CHIN + slope * (points[:, 1] - front)
    above_base = np.clip(points[:, 2] + _BELOW_BASE, 0.0, None)
    below_head = np.clip(top - points[:, 2], 0.0, None)
    share = above_base / np.maximum(above_base + below_head, 1e-6)
    inside = [own for part, own in members.items() if part not in ("face", "back_head", "hair", "")]
    if inside:
        share[np.concatenate(inside)] = 1.0
    moving, head = _smooth(share / 0.7), _smooth((share - 0.3) / 0.7)
    out = {"root": 1.0 - moving, "neck": moving - head, "head": head}
    balls = _of(members, EYEBALLS, np.zeros(0, int))
    for side in anatomy.eyes:
        own = balls[(points[balls, 0] > 0) == (side == "L")]
        eye = np.zeros(len(points))
        eye[own], out["head"][own] = 1.0, 0.0
        out[f"eye.{side}"] = eye
    return out


def jaw_share(anatomy: Anatomy, points: Array, opening: Array) -> Array:
    """(V,) how far each point (V,3) goes along with the jaw's bone, 0..1, so that the bone turned by the jaw's angle
    does about what the key does, which moves it by opening (V,3): least squares, a point at a time."""
    cos, sin = np.cos(anatomy.jaw_angle), np.sin(anatomy.jaw_angle)
    arm = points - anatomy.jaw
    turned = arm @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]) - arm
    share = (opening * turned).sum(axis=1) / np.maximum((turned**2).sum(axis=1), 1e-9)
    return np.where(share > _LEAST_SHARE, np.clip(share, 0.0, 1.0), 0.0)


def rigid(before: Array, after: Array) -> tuple[Array, Array, float]:
    """Rotation (3,3), translation (3,) and angle in radians that bring ``before`` (N,3) closest to ``after`` (Kabsch,
    Acta Cryst. A32, 1976)."""
    middle, moved = before.mean(axis=0), after.mean(axis=0)
    u, _, vt = np.linalg.svd((before - middle).T @ (after - moved))
    turn = vt.T @ np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    return turn, moved - turn @ middle, float(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)))


def _jaw(
    points: Array, members: Mapping[str, NDArray[np.integer]], offsets: Mapping[str, Array], skin: NDArray[np.integer]
) -> tuple[Array | None, Array, float]:
    """Joint or None, chin, angle. The lower teeth move as one: where they turn about is the joint."""
    low = points[skin, 2].min()
    name = next((name for name in JAW_KEYS if name in offsets), None)
    if name is None:
        in_front = skin[points[skin, 1] < 0.6 * points[skin, 1].min()]
        return None, points[in_front[np.argmin(np.abs(points[in_front, 2] - low / 2))]], _JAW_ANGLE
    far = np.linalg.norm(offsets[name], axis=1)
    moved = skin[far[skin] > 0.5 * far[skin].max()]
    chin = points[moved[np.argmin(points[moved, 2])]].astype(float)
    chin[0] = 0.0
    inside = _of(members, INSIDE_JAW, moved)
    lower = inside[far[inside] > 0.5 * far[inside].max()]
    turn, shift, angle = rigid(points[lower].astype(float), (points[lower] + offsets[name][lower]).astype(float))
    if angle < _LEAST_ANGLE:
        return None, chin, _JAW_ANGLE
    # In the plane across the axis, which is the X axis in a symmetric head.
    joint = np.linalg.solve(np.eye(2) - turn[1:, 1:], shift[1:])
    return np.array([0.0, *joint]), chin, angle


def _sphere_centre(points: Array) -> Array:
    """Least squares: |p|² = 2 p·c + (r² - |c|²), linear in the centre c."""
    points = points.astype(float)
    middle = points.mean(axis=0)
    near = points - middle
    system = np.column_stack([2 * near, np.ones(len(near))])
    return np.asarray(middle + np.linalg.lstsq(system, (near**2).sum(axis=1), rcond=None)[0][:3])


def _smooth(x: Array) -> Array:
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))


def _of(
    members: Mapping[str, NDArray[np.integer]], parts: tuple[str, ...], otherwise: NDArray[np.integer]
) -> NDArray[np.integer]:
    found = [members[part] for part in parts if part in members and len(members[part])]
    return np.unique(np.concatenate(found)) if found else otherwise
