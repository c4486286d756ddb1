# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up head model of a few hundred vertices: an ellipsoid with a nose, in the shape of a pack's own.

Other numbers of columns and rows give another topology with another vertex count: nothing may depend on one.
"""

import numpy as np

from idto3d.arrays import Array
from idto3d.headmodel import HeadModel, Material

AXES = np.array([0.075, 0.11, 0.095])  # metres
FACE_HALF_WIDTH, FACE_LOW, FACE_TOP = 90.0, -60.0, 50.0  # degrees around the vertical axis, and of latitude
EYE, EYE_RADIUS = (22.0, 14.0), 0.011  # longitude and latitude of the person's left eye; metres

EXPRESSION_NAMES = tuple(
    name
    for base, sides in {
        "browDown": 2, "browInnerUp": 2, "browOuterUp": 2, "cheekPuff": 2, "cheekSquint": 2, "eyeBlink": 2,
        "eyeLookDown": 2, "eyeLookIn": 2, "eyeLookOut": 2, "eyeLookUp": 2, "eyeSquint": 2, "eyeWide": 2,
        "jawForward": 1, "jawLeft": 1, "jawOpen": 1, "jawRight": 1, "mouthClose": 1, "mouthDimple": 2,
        "mouthFrown": 2, "mouthFunnel": 1, "mouthLeft": 1, "mouthLowerDown": 2, "mouthPress": 2, "mouthPucker": 1,
        "mouthRight": 1, "mouthRollLower": 1, "mouthRollUpper": 1, "mouthShrugLower": 1, "mouthShrugUpper": 1,
        "mouthSmile": 2, "mouthStretch": 2, "mouthUpperUp": 2, "noseSneer": 2,
    }.items()
    for name in ([base] if sides == 1 else [f"{base}_L", f"{base}_R"])
)  # fmt: skip
"""ARKit's, with _L and _R; browInnerUp and cheekPuff on both sides, no tongueOut: as ICT-FaceKit has them."""

# (longitude, latitude) of the place that moves on the person's left, its size in degrees, and the way it goes (mm; +X
# is the person's left)
_MOVES: dict[str, tuple[tuple[float, float], float, tuple[float, float, float]]] = {
    "browDown": ((18, 26), 12, (-1, -5, 1)),
    "browInnerUp": ((8, 26), 9, (0, 6, 1)),
    "browOuterUp": ((28, 26), 10, (1, 6, 1)),
    "cheekPuff": ((38, -18), 16, (5, 0, 5)),
    "cheekSquint": ((26, 2), 9, (0, 4, 1)),
    "eyeBlink": ((22, 17), 6, (0, -5, 1)),
    "eyeLookDown": ((22, 14), 5, (0, -1, 0)),
    "eyeLookIn": ((20, 14), 5, (-1, 0, 0)),
    "eyeLookOut": ((24, 14), 5, (1, 0, 0)),
    "eyeLookUp": ((22, 16), 5, (0, 1, 0)),
    "eyeSquint": ((22, 9), 7, (0, 2, 0)),
    "eyeWide": ((22, 18), 6, (0, 2, 0)),
    "jawForward": ((0, -42), 22, (0, 0, 5)),
    "jawLeft": ((0, -42), 22, (7, 0, 0)),
    "jawOpen": ((0, -42), 22, (0, -18, -4)),
    "jawRight": ((0, -42), 22, (-7, 0, 0)),
    "mouthClose": ((0, -30), 10, (0, 4, 0)),
    "mouthDimple": ((20, -28), 7, (2, 0, -2)),
    "mouthFrown": ((18, -31), 9, (0, -5, 0)),
    "mouthFunnel": ((0, -29), 14, (0, 0, 6)),
    "mouthLeft": ((0, -29), 16, (7, 0, 0)),
    "mouthLowerDown": ((8, -33), 8, (0, -4, 0)),
    "mouthPress": ((10, -29), 8, (0, 0, -1)),
    "mouthPucker": ((0, -29), 14, (0, 0, 8)),
    "mouthRight": ((0, -29), 16, (-7, 0, 0)),
    "mouthRollLower": ((0, -32), 9, (0, 1, -3)),
    "mouthRollUpper": ((0, -26), 9, (0, -1, -3)),
    "mouthShrugLower": ((0, -35), 11, (0, 3, 2)),
    "mouthShrugUpper": ((0, -26), 9, (0, 2, 2)),
    "mouthSmile": ((18, -27), 11, (5, 6, -1)),
    "mouthStretch": ((20, -29), 11, (6, -1, -1)),
    "mouthUpperUp": ((8, -25), 8, (0, 4, 0)),
    "noseSneer": ((8, -5), 7, (0, 3, 1)),
}

# MediaPipe's numbers, each ring as it runs there: from the middle of the top over the person's left and back
_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
         150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
_LIPS = (0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 61, 185, 40, 39, 37)
_LIPS_INNER = (13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95, 78, 191, 80, 81, 82)
_EYE_LEFT = (386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385)
_EYE_RIGHT = (159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7, 33, 246, 161, 160)
_BROW_LEFT = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)  # from outside to inside, upper edge, then lower
_BROW_RIGHT = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
_NOSE = {168: (0, 12), 6: (0, 8), 197: (0, 4), 195: (0, 0), 5: (0, -4), 4: (0, -8), 1: (0, -10), 2: (0, -15),
         326: (4, -15), 327: (8, -14), 97: (-4, -15), 98: (-8, -14)}  # fmt: skip


def tiny_head_model(columns: int = 24, rows: int = 16, modes: int = 6, eyes: bool = True) -> HeadModel:
    """columns: vertices around, a multiple of 4; rows: quads from pole to pole. The poles are fans of triangles."""
    sphere = _Sphere(columns, rows)
    vertices, mirror = sphere.vertices, sphere.mirror
    quads, uv, quads_uv = sphere.quads, sphere.uv, sphere.quads_uv
    part = np.where(sphere.is_face, 0, 1)
    material = part.copy()
    if eyes:
        left, ring = _eyeball(8, 6)
        ball, ball_mirror = len(left), sphere.count + np.arange(2 * len(left)).reshape(2, -1)[::-1].ravel()
        vertices = np.concatenate([vertices, left, left * [-1, 1, 1]])
        mirror = np.concatenate([mirror, ball_mirror])
        flipped = np.where(ring[:, 3:] >= 0, ring[:, ::-1], ring[:, [2, 1, 0, 3]])
        both = np.concatenate([ring, np.where(flipped >= 0, flipped + ball, -1)])
        quads = np.concatenate([quads, np.where(both >= 0, both + sphere.count, -1)])
        flat = np.concatenate([left, left * [-1, 1, 1]])[:, :2]
        span = np.ptp(flat, axis=0)
        uv, start = np.concatenate([uv, 0.1 + 0.8 * (flat - flat.min(0)) / span]), len(uv)
        quads_uv = np.concatenate([quads_uv, np.where(both >= 0, both + start, -1)])
        iris = np.tile((np.where(ring >= 0, ring, 0) == 0).any(1) | (ring[:, 3] < 0), 2)  # the fan at the front
        part = np.concatenate([part, np.where(iris, 3, 2)])
        material = np.concatenate([material, np.full(len(both), 2)])
    longitude, latitude = sphere.longitude, sphere.latitude
    none = np.zeros((len(vertices) - sphere.count, 3))
    identity = np.stack([np.concatenate([mode, none]) for mode in _identity(sphere, modes)])
    expression = np.stack([np.concatenate([_move(sphere, name), none]) for name in EXPRESSION_NAMES])
    triangle, barycentric = sphere.places(_landmark_directions())
    trust = np.ones(478)
    trust[468:] = 1.0 if eyes else 0.0
    if eyes:
        triangle[468:], barycentric[468:] = _iris_places(sphere.count, ball, ring)
    away = np.clip((np.abs(longitude) - 80) / 30, 0, 1)
    padding = np.zeros(len(none))
    return HeadModel(
        neutral=vertices.astype(np.float32),
        quads=quads.astype(np.int64),
        uv=uv.astype(np.float32),
        quads_uv=quads_uv.astype(np.int64),
        part=part.astype(np.int64),
        material=material.astype(np.int64),
        identity=identity.astype(np.float32),
        expression=expression.astype(np.float32),
        landmark_triangle=triangle.astype(np.int64),
        landmark_barycentric=barycentric.astype(np.float32),
        landmark_trust=trust.astype(np.float32),
        mirror=mirror.astype(np.int64),
        rigid=np.concatenate([away, padding + 1]).astype(np.float32),
        scalp=np.concatenate([np.clip((latitude + np.abs(longitude) / 3 - 40) / 15, 0, 1), padding]).astype(np.float32),
        part_names=("face", "back_head", "sclera", "iris") if eyes else ("face", "back_head"),
        expression_names=EXPRESSION_NAMES,
        materials=(
            Material("skin", (0.75, 0.55, 0.45), 0.5, 0.35, True),
            Material("head", (0.7, 0.5, 0.4), 0.5, 0.35, True),
            *((Material("eyes", (0.9, 0.88, 0.85), 0.1, 0.5, False),) if eyes else ()),
        ),
    )


def direction(longitude: Array, latitude: Array) -> Array:
    """Points (...,3) of the head's surface: degrees from the front towards the person's left, and upwards."""
    a, b = np.radians(longitude), np.radians(latitude)
    points: Array = AXES * np.stack([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)], -1)
    nose = np.exp(-((np.asarray(longitude) / 10.0) ** 2) - ((np.asarray(latitude) + 8) / 14.0) ** 2)
    points[..., 2] += 0.018 * nose
    return points


class _Sphere:
    """A grid of longitudes and latitudes: vertex 0 the lower pole, then rings upwards, the upper pole last. A ring
    starts at the back and runs over the person's right."""

    def __init__(self, columns: int, rows: int) -> None:
        if columns % 4 or rows < 4:
            raise ValueError("a multiple of four columns, and four rows or more")
        self.columns, self.rows = columns, rows
        self._around = np.linspace(-180, 180, columns + 1)
        self._up = np.linspace(-90, 90, rows + 1)
        ring = np.arange(columns)
        self.count = (rows - 1) * columns + 2
        self.longitude = np.concatenate([[0], np.tile(self._around[:-1], rows - 1), [0]])
        self.latitude = np.concatenate([[-90], np.repeat(self._up[1:-1], columns), [90]])
        self.vertices = direction(self.longitude, self.latitude)
        starts = 1 + columns * np.arange(rows - 1)[:, None]
        self.mirror = np.concatenate([[0], (starts + (-ring) % columns).ravel(), [self.count - 1]])
        self._quads()

    def vertex(self, row: Array, column: Array) -> Array:
        inner = 1 + (np.clip(row, 1, self.rows - 1) - 1) * self.columns + column % self.columns
        return np.where(row <= 0, 0, np.where(row >= self.rows, self.count - 1, inner))

    def _quads(self) -> None:
        row, column = (x.ravel() for x in np.indices((self.rows, self.columns)))
        ends = ((0, 0), (0, 1), (1, 1), (1, 0))
        self.quads = np.stack([self.vertex(row + r, column + c) for r, c in ends], 1)
        wide = np.stack([(row + r) * (self.columns + 1) + column + c for r, c in ends], 1)
        for at, corners in ((row == 0, [0, 2, 3]), (row == self.rows - 1, [0, 1, 2])):
            for array in (self.quads, wide):
                array[at] = np.concatenate([array[at][:, corners], np.full((at.sum(), 1), -1)], 1)
        middle = self._around[column] + 180 / self.columns, self._up[row] + 90 / self.rows
        self.is_face = (np.abs(middle[0]) < FACE_HALF_WIDTH) & (middle[1] > FACE_LOW) & (middle[1] < FACE_TOP)
        around, up = np.meshgrid(self._around, self._up)
        whole = np.stack([(around + 180) / 360, (up + 90) / 180], -1).reshape(-1, 2)
        margin = 90 / self.rows
        face = np.stack(
            [
                (around + FACE_HALF_WIDTH) / (2 * FACE_HALF_WIDTH),
                (up - FACE_LOW + margin) / (FACE_TOP - FACE_LOW + 2 * margin),
            ],
            -1,
        ).reshape(-1, 2)
        self.uv = np.concatenate([whole, face.clip(0, 1)])
        self.quads_uv = np.where(wide < 0, -1, wide + np.where(self.is_face, len(whole), 0)[:, None])

    def places(self, where: Array) -> tuple[Array, Array]:
        """Vertices (N,3) and barycentric weights (N,3) of directions (N,2) in degrees, away from the poles."""
        x = (where[:, 0] + 180) / 360 * self.columns
        y = (where[:, 1] + 90) / 180 * self.rows
        column, row = np.floor(x).astype(int), np.floor(y).astype(int)
        a, b = x - column, y - row
        corner = [self.vertex(row + r, column + c) for r, c in ((0, 0), (0, 1), (1, 1), (1, 0))]
        low = a >= b  # triangle 0, 1, 2 of the quad; otherwise 0, 2, 3
        triangle = np.where(low[:, None], np.stack(corner[:3], 1), np.stack([corner[0], corner[2], corner[3]], 1))
        weights = np.where(low[:, None], np.stack([1 - a, a - b, b], 1), np.stack([1 - b, a, b - a], 1))
        return triangle, weights


def _bump(sphere: _Sphere, at: tuple[float, float], size: float) -> Array:
    off = (sphere.longitude - at[0] + 180) % 360 - 180
    return np.exp(-(off**2 + (sphere.latitude - at[1]) ** 2) / (2 * size**2))[:, None]


def _move(sphere: _Sphere, name: str) -> Array:
    """(P,3) metres."""
    base, _, side = name.partition("_")
    (longitude, latitude), size, way = _MOVES[base]
    sign = -1.0 if side == "R" else 1.0
    front = np.clip((110 - np.abs(sphere.longitude)) / 30, 0, 1)[:, None]
    moved: Array = front * _bump(sphere, (sign * longitude, latitude), size) * np.array(way) * 1e-3
    return moved * [sign, 1, 1] if side else moved


def _identity(sphere: _Sphere, modes: int) -> list[Array]:
    """Wider, taller, deeper; then bumps here and there, alike on both sides."""
    v = sphere.vertices
    scales = [0.05 * v * [1, 0, 0], 0.04 * v * [0, 1, 0], 0.05 * v * [0, 0, 1]]
    places = [(0.0, -8.0, 12.0), (35.0, -15.0, 18.0), (0.0, -48.0, 16.0), (18.0, 28.0, 12.0), (60.0, 0.0, 20.0)]
    outward = v / np.linalg.norm(v, axis=1, keepdims=True)
    for n in range(max(0, modes - 3)):
        longitude, latitude, size = places[n % len(places)]
        size *= 1 + n // len(places)
        both = _bump(sphere, (longitude, latitude), size) + _bump(sphere, (-longitude, latitude), size)
        scales.append(0.003 * both * outward)
    return scales[:modes]


def _landmark_directions() -> Array:
    """(478,2) degrees."""
    out = np.full((478, 2), np.nan)

    def ring(numbers: tuple[int, ...], centre: tuple[float, float], width: float, height: float) -> None:
        turn = 2 * np.pi * np.arange(len(numbers)) / len(numbers)
        out[list(numbers)] = np.stack([centre[0] + width * np.sin(turn), centre[1] + height * np.cos(turn)], 1)

    ring(_OVAL, (0, -5), 62, 48)
    ring(_LIPS, (0, -29), 17, 6)
    ring(_LIPS_INNER, (0, -29), 13, 2)
    ring(_EYE_LEFT, EYE, 8, 4)
    ring(_EYE_RIGHT, (-EYE[0], EYE[1]), 8, 4)
    for brow, sign in ((_BROW_LEFT, 1), (_BROW_RIGHT, -1)):
        along = np.tile(np.linspace(36, 9, 5), 2) * sign
        out[list(brow)] = np.stack([along, np.repeat([28.0, 24.0], 5)], 1)
    for number, where in _NOSE.items():
        out[number] = where
    for centre, sign in ((468, -1), (473, 1)):
        ring((centre + 1, centre + 2, centre + 3, centre + 4), (sign * EYE[0], EYE[1]), 3, 3)
        out[centre] = (sign * EYE[0], EYE[1])
    rest = np.flatnonzero(np.isnan(out[:, 0]))
    golden = np.pi * (3 - np.sqrt(5))
    radius, turn = np.sqrt((np.arange(len(rest)) + 0.5) / len(rest)), golden * np.arange(len(rest))
    out[rest] = np.stack([58 * radius * np.sin(turn), -5 + 44 * radius * np.cos(turn)], 1)
    return out


def _eyeball(around: int, rings: int) -> tuple[Array, Array]:
    """Vertices and quads of the person's left eye, a ball that looks out of the head; vertex 0 is its front."""
    up = np.linspace(90, -90, rings + 1)[1:-1]
    turn = np.arange(around) * 2 * np.pi / around
    b = np.radians(up)[:, None]
    body = np.stack([np.cos(b) * np.cos(turn), np.cos(b) * np.sin(turn), np.sin(b) + 0 * turn], -1).reshape(-1, 3)
    unit = np.concatenate([[[0, 0, 1]], body, [[0, 0, -1]]])
    centre = direction(np.array(EYE[0]), np.array(EYE[1])) * 0.97
    k = np.arange(around)
    after, last = (k + 1) % around, 1 + around * (rings - 1)
    front = np.stack([0 * k, 1 + k, 1 + after, 0 * k - 1], 1)
    back = np.stack([last - around + after, last - around + k, 0 * k + last, 0 * k - 1], 1)
    middle = [1 + r * around + np.stack([k, around + k, around + after, after], 1) for r in range(rings - 2)]
    return centre + EYE_RADIUS * unit, np.concatenate([front, *middle, back])


def _iris_places(first: int, ball: int, ring: Array) -> tuple[Array, Array]:
    """Landmarks 468 to 477 on the fan at the front of the person's right eye, then the left."""
    fan = ring[ring[:, 3] < 0][:, :3]
    fan = fan[(fan == 0).any(1)]
    step = len(fan) // 4
    chosen = np.stack([fan[0], *(fan[n * step] for n in range(4))])
    weights = np.array([[1.0, 0, 0], *[[0.4, 0.6, 0.0]] * 4])
    triangle = np.concatenate([chosen + first + ball, chosen + first])
    return triangle, np.tile(weights, (2, 1))
