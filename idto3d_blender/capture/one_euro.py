# SPDX-License-Identifier: GPL-3.0-or-later
"""The One Euro filter: calm where a face rests, quick where it moves. No bpy.

Casiez, Roussel and Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems",
CHI 2012, https://doi.org/10.1145/2207676.2208639.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DERIVATIVE_CUTOFF = 1.0
"""Hertz; the paper's own."""


def one_euro(times: Array, values: Array, cutoff: Array | float, beta: Array | float) -> Array:
    """Filter values (T,C) at rising times (T,) seconds. cutoff: hertz at rest, a value or (C,): lower is calmer; beta:
    how much the cutoff rises with the speed, hertz a unit a second: higher lags less. The first value stays."""
    out = np.array(values, np.float64)
    speed = np.zeros(out.shape[1:])
    for n in range(1, len(out)):
        step = max(float(times[n] - times[n - 1]), 1e-6)
        raw = (values[n] - values[n - 1]) / step
        speed = speed + _share(DERIVATIVE_CUTOFF, step) * (raw - speed)
        share = _share(cutoff + beta * np.abs(speed), step)
        out[n] = out[n - 1] + share * (values[n] - out[n - 1])
    return out


def without_lag(times: Array, values: Array, cutoff: Array | float, beta: Array | float) -> Array:
    """Forward and then backward in time: what lags behind on the one way runs ahead on the other. For recordings."""
    forward = one_euro(times, values, cutoff, beta)
    return one_euro(times[-1] - times[::-1], forward[::-1], cutoff, beta)[::-1]


def _share(cutoff: Array | float, step: float) -> Array | float:
    """How far an exponential filter of a cutoff in hertz goes towards a new value."""
    return 1.0 / (1.0 + 1.0 / (2 * np.pi * cutoff * step))
