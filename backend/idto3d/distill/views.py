# SPDX-License-Identifier: GPL-3.0-or-later
"""Random cameras of distillation, from the distribution of the prior's training pictures."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..render.cameras import Camera, make_camera
from .config import CameraDistribution


@dataclass(frozen=True)
class View:
    """A camera, and whether it shows only the face."""

    camera: Camera
    close: bool


def random_view(rng: np.random.Generator, config: CameraDistribution) -> View:
    """One camera of the distribution."""
    shares = np.array([share for share, _, _ in config.azimuth])
    _, low, high = config.azimuth[int(rng.choice(len(shares), p=shares / shares.sum()))]
    azimuth = rng.uniform(low, high)
    close = bool(from_front(azimuth) < config.close_within and rng.random() < config.close_share)
    elevation, fov = rng.uniform(*config.elevation), rng.uniform(*config.fov)
    frame = rng.uniform(*(config.close_frame if close else config.frame))
    target = np.array(config.close_target if close else config.target) + rng.normal(0, config.jitter, 3)
    return View(make_camera(azimuth, elevation, fov, frame, target.tolist()), close)


def sample_views(
    rng: np.random.Generator, config: CameraDistribution, count: int, need: Callable[[list[View]], np.ndarray]
) -> list[View]:
    """Views of one step: each is drawn from `candidates` with a probability in proportion to `need` (K,) >= 0."""
    chosen = []
    for _ in range(count):
        drawn = [random_view(rng, config) for _ in range(config.candidates)]
        weight = np.asarray(need(drawn), np.float64) + 1e-9
        chosen.append(drawn[int(rng.choice(len(drawn), p=weight / weight.sum()))])
    return chosen


def draw_expression(rng: np.random.Generator, count: int, neutral_share: float) -> int:
    """One step's expression, 0 .. count-1: neutral (0) in the given share of the steps, or always if it is alone."""
    return 0 if count == 1 or rng.random() < neutral_share else int(rng.integers(1, count))


def from_front(azimuth: float) -> float:
    """Degrees from the front, 0..180."""
    return abs((azimuth + 180) % 360 - 180)


def gate(azimuth: float, limits: tuple[float, float]) -> float:
    """lambda_id and lambda_exp: 1 up to the first angle from the front, falling to 0 at the second."""
    low, high = limits
    return float(np.clip((high - from_front(azimuth)) / max(high - low, 1e-9), 0, 1))
