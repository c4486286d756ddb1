# SPDX-License-Identifier: GPL-3.0-or-later
"""How hair lies: how strands run in a photograph, whether they run alike or curl, and patterns of such strands."""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from ..arrays import Array
from .hood import PIXEL, Hood

GRAIN = 0.0012  # metres a pixel at which strands are looked at, or as fine as the picture is
LIKE = 0.006  # metres over which directions are compared
FAINT = 25.0  # squared contrast a pixel below which nothing is told
COHERENCE = (0.55, 0.3)  # of straight hair, of curls
DISK = 0.495  # of the map's side: radius of the hood's disk in it
DOUBLINGS = (6, 2)  # of a strand's length in the pattern, straight and curled: long curls run together in patches
COARSE = 4  # pixels that count as one where bends are drawn
WAVE = (0.014, 0.004)  # metres from one bend of a strand to the next, of wavy and of curly hair


def directions(picture: Array, mask: Array, scale: float) -> tuple[Array, float]:
    """(s,s,2) cosine and sine of twice the angle at which strands run (columns, rows), times how sure it is, 0..1; and
    0 where they run alike, 1 where they curl. picture (S,S,3) uint8, mask (S,S) of hair, scale: pixels a metre.

    The structure tensor (Bigun and Granlund 1987), its coherence weighted by contrast.
    """
    factor = min(1.0, 1.0 / (GRAIN * scale))
    size = round(len(picture) * factor)
    light = cv2.cvtColor(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)[..., 0]
    hair = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA) > 0.9
    inside = cv2.erode(hair.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(np.float32)
    dx, dy = (cv2.Sobel(light, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    xx, yy, xy = (cv2.GaussianBlur(p * inside, (0, 0), LIKE * scale * factor) for p in (dx * dx, dy * dy, dx * dy))
    alike = np.hypot(xx - yy, 2 * xy)
    # Strands run across the gradient.
    sure = alike / (xx + yy + FAINT) / np.maximum(alike, 1e-6)
    lines = np.stack([yy - xx, -2 * xy], -1) * sure[..., None]
    contrast = float(((xx + yy) * inside).sum())
    if contrast <= FAINT * float(inside.sum()):
        return lines, 0.0
    coherence = float((alike * inside).sum()) / contrast
    return lines, float(np.clip((COHERENCE[0] - coherence) / (COHERENCE[0] - COHERENCE[1]), 0.0, 1.0))


def on_disk(hood: Hood, values: Array, size: int) -> Array:
    """A map (side,side[,C]) as an image (size,size[,C]) of hair's texture, whose disk it fills."""
    step = hood.reach / PIXEL / (DISK * size)
    start = hood.side // 2 + (0.5 - size / 2) * step
    matrix = np.array([[step, 0.0, start], [0.0, step, start]])
    return cv2.warpAffine(
        np.ascontiguousarray(values, np.float32), matrix, (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


def disk_place(hood: Hood, place: Array, size: int) -> Array:
    """(K,2) columns and rows in an image (size,size) of hair's texture of those (K,2) in the hood's maps."""
    return (place - hood.side // 2) * (DISK * size * PIXEL / hood.reach) + (size - 1) / 2


def strand_pattern(hood: Hood, flow: Array, curl: float, size: int, width: float) -> Array:
    """(size,size) noise of mean 0 and deviation 1, drawn out along flow (side,side,2); width: metres of a strand.

    Line integral convolution (Cabral and Leedom 1993), each round of which doubles the length.
    """
    rng = np.random.default_rng(3)
    texel = hood.reach / (DISK * size)
    blur = width / texel / 2
    noise = gaussian_filter(rng.normal(size=(size, size)).astype(np.float32), max(blur, 0.5), mode="wrap")
    way = on_disk(hood, flow, size)
    if curl:
        few = max(size // COARSE, 16)  # bends are wide
        lumps = gaussian_filter(
            rng.normal(size=(few, few)).astype(np.float32), (WAVE[0] + curl * (WAVE[1] - WAVE[0])) / texel * few / size
        )
        lumps = cv2.resize(lumps, (size, size), interpolation=cv2.INTER_CUBIC)
        bend = curl * np.pi * 0.5 * lumps / lumps.std()
        c, s = np.cos(bend), np.sin(bend)
        way = np.stack([c * way[..., 0] - s * way[..., 1], s * way[..., 0] + c * way[..., 1]], -1)
    shift = way * max(1.0, blur)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    for _ in range(round(DOUBLINGS[0] + curl * (DOUBLINGS[1] - DOUBLINGS[0]))):
        x, y = columns + shift[..., 0], rows + shift[..., 1]
        noise = noise + cv2.remap(noise, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        shift = shift + cv2.remap(shift, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return (noise - noise.mean()) / max(float(noise.std()), 1e-9)
