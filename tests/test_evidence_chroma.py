# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera's blotches of colour go from de-lit skin; what is the skin's own stays."""

import numpy as np

from idto3d.evidence.chroma import quiet

SIDE, TEXEL = 256, 0.0005
SKIN = np.array([0.45, 0.25, 0.17])
SEEN = np.ones((SIDE, SIDE), np.float32)


def hue(albedo: np.ndarray) -> np.ndarray:
    logs = np.log(albedo)
    return logs - logs.mean(2, keepdims=True)


def blotched(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Skin with blotches of hue, two millimetres wide, as JPEG leaves them."""
    blotches = np.kron(rng.normal(0, strength, (SIDE // 4, SIDE // 4, 3)), np.ones((4, 4, 1)))
    return SKIN * np.exp(blotches - blotches.mean(2, keepdims=True))


def test_blotches_go() -> None:
    noisy = blotched(np.random.default_rng(0), 0.05)
    out = quiet(noisy, SEEN, TEXEL)
    assert hue(out).std((0, 1)).max() < 0.33 * hue(noisy).std((0, 1)).min()
    np.testing.assert_allclose(np.log(out).mean(2), np.log(noisy).mean(2), atol=1e-3, err_msg="lightness is not hue")


def test_a_red_spot_and_what_goes_with_lightness_stay() -> None:
    rng = np.random.default_rng(1)
    melanin = np.kron(rng.normal(0, 0.1, (SIDE // 8, SIDE // 8, 1)), np.ones((8, 8, 1))) * [0.5, 1.0, 1.5]
    albedo = blotched(rng, 0.02) * np.exp(melanin)
    spot = slice(100, 112), slice(100, 112)
    albedo[spot] *= [1.2, 0.7, 0.75]
    out = quiet(albedo, SEEN, TEXEL)
    red = [hue(picture)[spot][..., 0].mean() - hue(picture)[..., 0].mean() for picture in (albedo, out)]
    assert red[1] > 0.75 * red[0]
    away = np.corrcoef(hue(out)[..., 2].ravel(), melanin[..., 1].ravel())[0, 1]
    kept = hue(out)[..., 2].std() / (0.5 * melanin[..., 1].std())
    assert away > 0.9 and 0.75 < kept < 1.25, (away, kept)


def test_what_is_hardly_seen_is_left_alone() -> None:
    noisy = blotched(np.random.default_rng(2), 0.05)
    few = np.zeros_like(SEEN)
    few[:20, :20] = 1
    assert quiet(noisy, few, TEXEL) is noisy
