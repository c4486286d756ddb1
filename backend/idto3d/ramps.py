# SPDX-License-Identifier: GPL-3.0-or-later
"""From none to all of something, between two values."""

import numpy as np

from .arrays import Array


def ramp(values: Array | float, low: float | Array = 0.0, high: float = 1.0) -> Array:
    """0 at low, 1 at high, linear between; low may lie above high."""
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def smoothstep(values: Array, low: float = 0.0, high: float = 1.0) -> Array:
    """0 at low, 1 at high, level at both."""
    t = ramp(values, low, high)
    return t * t * (3.0 - 2.0 * t)
