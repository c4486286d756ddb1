# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks that follow the edges of a picture: the fast guided filter (He, Sun, Tang, PAMI 2013; He and Sun 2015)."""

import cv2
import numpy as np
from numpy.typing import NDArray


def guided_upsample(
    small: NDArray[np.uint8], picture: NDArray[np.uint8], mask: NDArray[np.float32], radius: int, variance: float
) -> NDArray[np.float32]:
    """A mask (h,w) of a small picture (h,w,3), brought to the size of the picture (H,W,3) and to its edges: (H,W).

    radius: pixels of the small picture; variance: of colour (0..1) that counts as an edge.
    """
    slope, offset = guided_filter(small.astype(np.float32) / np.float32(255), mask, radius, variance)
    fine = cv2.resize(np.dstack([slope / 255, offset]), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    out = np.asarray(fine[..., 3], np.float32)
    for channel in range(3):
        out = out + np.asarray(fine[..., channel], np.float32) * picture[..., channel]
    return out


def guided_filter(
    guide: NDArray[np.float32], mask: NDArray[np.float32], radius: int, variance: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Slope (H,W,3) and offset (H,W) so that slope . guide + offset follows the mask (H,W) and the guide's edges.

    The coefficients are smooth, so they can be enlarged and applied to a finer guide.
    """

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        window = (2 * radius + 1, 2 * radius + 1)
        return np.asarray(cv2.blur(values, window, borderType=cv2.BORDER_REFLECT), np.float32)

    guide_mean, mask_mean = mean(guide), mean(mask)
    covariance = mean(guide * mask[..., None]) - guide_mean * mask_mean[..., None]
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    products = mean(np.stack([guide[..., i] * guide[..., j] for i, j in pairs], -1))
    rr, rg, rb, gg, gb, bb = (
        products[..., n] - guide_mean[..., i] * guide_mean[..., j] + np.float32(variance if i == j else 0.0)
        for n, (i, j) in enumerate(pairs)
    )
    # Inverse of the symmetric 3 x 3 matrix by its cofactors.
    c00, c01, c02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c11, c12, c22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    r, g, b = covariance[..., 0], covariance[..., 1], covariance[..., 2]
    slope = np.stack([c00 * r + c01 * g + c02 * b, c01 * r + c11 * g + c12 * b, c02 * r + c12 * g + c22 * b], -1)
    slope /= (rr * c00 + rg * c01 + rb * c02)[..., None]
    offset = mask_mean - (slope * guide_mean).sum(-1)
    return mean(slope), mean(offset)
