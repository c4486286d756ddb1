# SPDX-License-Identifier: GPL-3.0-or-later
"""Blotches of colour that are a camera's: a photograph keeps hues coarsely, and de-lighting multiplies the faintest
channel.

On skin hue goes with lightness (blood and melanin are darker), so what of the hue follows the lightness nearby stays (a
guided filter, He, Sun, Tang 2013); of the rest what is no stronger than it is everywhere goes (coring, as in wavelets'
denoising), and a red spot stays.
"""

import numpy as np

from ..arrays import Array
from .blend import smooth_within

REACH = 0.006  # metres: deviation of what is nearby
STEADY = 0.02  # deviation of lightness (logarithm) from which on hue is asked to follow it
CORE = 3.0  # deviations of the noise: blotches as strong lose half
FEWEST = 2000  # texels that tell the noise


def quiet(albedo: Array, weight: Array, texel: float) -> Array:
    """Linear albedo (S,S,3) without its noise of hue; weight (S,S): where it is seen, texel: metres."""
    known = (weight > 0.6).astype(np.float32)
    if known.sum() < FEWEST:
        return albedo
    logs = np.log(np.maximum(albedo, 1e-4))
    light = logs.mean(2, keepdims=True)
    hue = logs - light
    sigma = REACH / texel
    near, reach = smooth_within(np.concatenate([light, hue], 2), known, sigma)
    mean_light, mean_hue = near[..., :1], near[..., 1:]
    both, _ = smooth_within(np.concatenate([light * light, light * hue], 2), known, sigma)
    slope = (both[..., 1:] - mean_light * mean_hue) / (both[..., :1] - mean_light**2 + STEADY**2)
    followed = mean_hue + slope * (light - mean_light)
    rest = hue - followed
    strength = np.linalg.norm(rest, axis=2, keepdims=True)
    noise = CORE * float(np.median(strength[known > 0]))
    rest = rest * strength**2 / np.maximum(strength**2 + noise**2, 1e-12)
    share = np.clip(4 * reach, 0, 1)[..., None]
    return np.exp(light + hue + share * (followed + rest - hue)).astype(np.float32)
