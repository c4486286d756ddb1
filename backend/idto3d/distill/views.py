# SPDX-License-Identifier: GPL-3.0-or-later
"""Random cameras of distillation; the same distribution as the training pictures'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..render.cameras import Camera

CLOSE_UP = "close up of the face"


@dataclass(frozen=True)
class View:
    """A camera, and whether it shows only the face."""

    camera: Camera
    close: bool

    def words(self, user: str) -> str:
        """The user's words with the view's own."""
        return ", ".join(w for w in (user, CLOSE_UP if self.close else "") if w)


def make_camera(azimuth: float, elevation: float, fov: float, frame: float, target: np.ndarray) -> Camera:
    """A camera at the distance where `frame` metres at the target fill the picture's height."""
    distance = frame / 2 / np.tan(np.radians(fov) / 2)
    azimuth = (azimuth + 180) % 360 - 180
    x, y, z = (float(t) for t in target)
    return Camera(float(azimuth), float(elevation), float(distance), float(fov), (x, y, z))


def random_view(rng: np.random.Generator) -> View:
    """Half near the front, a sixth behind; four in ten of the frontal ones are close-ups of the face."""
    u = rng.random()
    azimuth = rng.uniform(-45, 45) if u < 0.5 else rng.uniform(-110, 110) if u < 0.85 else rng.uniform(110, 250)
    close = bool(abs(azimuth) < 80 and rng.random() < 0.4)
    elevation = rng.uniform(-15, 30)
    fov = rng.uniform(16, 30)
    frame = rng.uniform(0.13, 0.2) if close else rng.uniform(0.33, 0.38)
    target = rng.normal(0, 0.006, 3) + (np.array([0, -0.03, 0.05]) if close else np.array([0, -0.025, 0.0]))
    return View(make_camera(azimuth, elevation, fov, frame, target), close)


def sample_views(rng: np.random.Generator, count: int) -> list[View]:
    """Views of one step."""
    return [random_view(rng) for _ in range(count)]


def draw_expression(rng: np.random.Generator, count: int, neutral_share: float) -> int:
    """One step's expression, 0 .. count-1: neutral (0) in the given share of the steps, or always if it is alone."""
    return 0 if count == 1 or rng.random() < neutral_share else int(rng.integers(1, count))


def fade(azimuth: float) -> float:
    """lambda_id and lambda_exp: 1 up to 45 degrees from the front, falling to 0 at 90."""
    off = abs((azimuth + 180) % 360 - 180)
    return float(np.clip((90 - off) / 45, 0, 1))
