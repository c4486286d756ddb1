# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera of a photograph, as far as a head in it can tell."""

from dataclasses import dataclass

import numpy as np

from ..arrays import Array


@dataclass(frozen=True, eq=False)
class PhotoCamera:
    """A pinhole camera in pixels of the face's picture (centre of pixel (i, j) at x = j, y = i).

    A point x of the head frame turns to y = rotation (x - centre), camera axes: x right, y up, z towards the camera;
    its pixel is shift + scale (y_x, -y_y) / (1 - inverse_distance y_z). scale: pixels a metre at the centre;
    inverse_distance: 1 over metres from the camera to the centre.
    """

    rotation: Array
    centre: Array
    scale: float
    shift: Array
    inverse_distance: float

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.scale / self.inverse_distance

    @property
    def position(self) -> Array:
        """(3,) the centre of projection in the head frame, metres."""
        return self.centre + self.rotation.T @ np.array([0.0, 0.0, 1.0 / self.inverse_distance])

    @property
    def angles(self) -> tuple[float, float, float]:
        """Yaw, pitch and roll of the head in degrees: positive yaw turns the face to the picture's right, positive
        pitch up, positive roll clockwise as seen."""
        r = self.rotation
        return (
            float(np.degrees(np.arctan2(r[0, 2], r[2, 2]))),
            float(np.degrees(np.arcsin(np.clip(r[1, 2], -1, 1)))),
            float(np.degrees(np.arctan2(-r[1, 0], r[1, 1]))),
        )

    def project(self, points: Array) -> tuple[Array, Array]:
        """Points (...,3) to pixels (...,2) and heights towards the camera (...,), metres over the centre."""
        y = (points - self.centre) @ self.rotation.T
        away = 1.0 - self.inverse_distance * y[..., 2]
        return self.shift + self.scale * y[..., :2] * [1.0, -1.0] / away[..., None], y[..., 2]

    def towards(self, points: Array) -> Array:
        """Unit vectors (...,3) from points (...,3) to the camera, head frame."""
        to_eye = self.position - points
        return to_eye / np.linalg.norm(to_eye, axis=-1, keepdims=True)

    def clip_matrix(self, size: int, near: float = 0.1, far: float = 10.0) -> Array:
        """(4,4) head frame to OpenGL clip space of the size x size picture; near and far in camera distances."""
        distance = 1.0 / self.inverse_distance
        near, far = near * distance, far * distance
        view = np.eye(4)
        view[:3, :3] = self.rotation
        view[:3, 3] = -self.rotation @ self.position
        lens = np.zeros((4, 4))
        lens[0, 0] = lens[1, 1] = 2.0 * self.focal / size
        # pixel x = size / 2 (ndc + 1) - 1/2, and y downwards
        lens[0, 2] = 1.0 - (2.0 * self.shift[0] + 1.0) / size
        lens[1, 2] = (2.0 * self.shift[1] + 1.0) / size - 1.0
        lens[2, 2] = (near + far) / (near - far)
        lens[2, 3] = 2.0 * near * far / (near - far)
        lens[3, 2] = -1.0
        return lens @ view
