# SPDX-License-Identifier: GPL-3.0-or-later
"""What the photographs show and no regressor knows: this person's brows, lips, lines, spots and stubble, freed of
light; the colours of hair and eyes.

What the lit guess does not explain of a photograph goes, without its slow part, into the albedo. (Design: photo
projection.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..head.finish import Atlas, HeadMesh, texel_values
from ..head.geometry_net import GeometryNet
from ..head.parts import EYES, SKIN
from ..head.progress import Progress, ignored
from ..head.texture_net import IRIS_ANGLE, PUPIL_ANGLE, eye_centres, gaze_angle
from ..render.lights import sh_basis
from ..render.shading import linear_to_srgb, srgb_to_linear
from .overlay import Texels, View, blur, fit_irradiance

# Lengths in units of d, the distance from eyes to mouth.
# Gaussian blurs that tell light and tone from detail: broad at brows and lips; elsewhere fine detail (spots, stubble)
# is the person's own, while broader marks are mostly folds and shadows of one moment, of which little is taken
SLOW_FEATURES, SLOW_SKIN, SLOW_SPOTS = 0.32, 0.11, 0.035
GREY = 0.04  # median saturation (0..1) up to which a face is in black and white
FEWEST_PIXELS = 500  # of skin, of a portrait's quarter million, that a photograph must show
STRENGTH = 0.85
# limits of the detail, natural logarithm of albedo
FEATURES, SPOTS, FOLDS = (-1.1, 1.0), (-0.3, 0.15), (-0.13, 0.1)
LEVEL = 0.15  # natural logarithm by which skin around a feature may differ from the average around
SHADOW = 0.35  # natural logarithm of light by which the fit may miss over a broad patch
FOLDED = 0.004  # metres of an expression's motion within which a line of the skin is thought the person's own
# Colours of hair and irises: fewest pixels to measure them by, how far they may be corrected (natural logarithm), and
# pixels from eyes to mouth in the file under which an iris is a smudge, and from which on it is believed
FEWEST_OF_HAIR, FEWEST_OF_IRIS = 800, 40
CORRECTION = 1.2
SMUDGE, CLEAR = 30.0, 70.0


def face_window(keypoints: Tensor, size: int) -> Tensor:
    """(S,S) 0..1: the face without eyes, up to half a distance d above them, in an upright crop."""
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    eyes, mouth = keypoints[:2].mean(0), keypoints[3:].mean(0)
    d = float((mouth - eyes).norm())
    x, y = (xs - (eyes + mouth)[0] / 2) / d, (ys - eyes[1]) / d

    def step(value: Tensor, width: float) -> Tensor:
        return (value / width + 0.5).clamp(0, 1)

    window = step(y + 0.56, 0.2) * step(1.75 - y, 0.3) * step(1.0 - x.abs(), 0.3)
    for eye in keypoints[:2]:
        lids = ((xs - eye[0]) / d / 0.3) ** 2 + ((ys - eye[1]) / d / 0.14) ** 2
        window = window * step(lids - 1.1, 0.5)
    return window


def brow_window(keypoints: Tensor, size: int) -> Tensor:
    """(S,S) 0..1: the band that holds the brows, in an upright crop."""
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    eyes, mouth = keypoints[:2].mean(0), keypoints[3:].mean(0)
    d = float((mouth - eyes).norm())
    x, y = (xs - eyes[0]) / d, (ys - eyes[1]) / d
    across = ((0.95 - x.abs()) / 0.2 + 0.5).clamp(0, 1)
    return across * ((0.17 - (y + 0.27).abs()) / 0.12 + 0.5).clamp(0, 1)


def lip_window(keypoints: Tensor, size: int) -> Tensor:
    """(S,S) 0..1: the lips, in an upright crop."""
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    eyes, mouth = keypoints[:2].mean(0), keypoints[3:].mean(0)
    d = float((mouth - eyes).norm())
    half = float((keypoints[4] - keypoints[3]).norm()) / d / 2 + 0.12
    lips = ((xs - mouth[0]) / d / half) ** 2 + ((ys - mouth[1] - 0.05 * d) / d / 0.3) ** 2
    return ((1.1 - lips) / 0.5 + 0.5).clamp(0, 1)


@dataclass(frozen=True)
class Detail:
    """What one photograph adds to the guess. albedo (S,S,3): natural logarithm; weight (S,S); hair, iris (3,): how much
    lighter those are, natural logarithm, and what that is worth, 0..1."""

    albedo: Tensor
    weight: Tensor
    hair: tuple[Tensor, float]
    iris: tuple[Tensor, float]


NOTHING = (torch.zeros(3), 0.0)


def detail_of(view: View) -> Detail:
    """Compare a photograph with the guess under the light that explains most of it."""
    size, seen, keypoints = view.picture.shape[0], view.seen, view.keypoints
    d = float((keypoints[:2].mean(0) - keypoints[3:].mean(0)).norm())
    photo, inside = srgb_to_linear(view.picture[..., :3]), view.picture[..., 3] > 0.99
    weight = seen.skin * face_window(keypoints, size) * inside
    rows = (weight > 0.05).nonzero(as_tuple=True)
    if len(rows[0]) < FEWEST_PIXELS:
        return Detail(torch.zeros(size, size, 3), torch.zeros(size, size), NOTHING, NOTHING)
    light = fit_irradiance(photo[rows], seen.albedo[rows], seen.normal[rows], weight[rows])
    shading = (sh_basis(seen.normal) @ light).clamp(min=0.02)
    whole = (photo.clamp(min=0.004) / (seen.albedo * shading).clamp(min=0.004)).log()
    high, low = view.picture[..., :3].amax(-1), view.picture[..., :3].amin(-1)
    saturation = (high - low) / high.clamp(min=0.02)
    if float(saturation[rows].median()) < GREY:  # a picture in black and white says nothing of colours
        whole = whole.mean(-1, keepdim=True).expand_as(whole)
    missed = whole.clamp(-1.5, 1.0)

    def slow(sigma: float, weight: Tensor) -> Tensor:
        blurred = blur(torch.cat([missed * weight[..., None], weight[..., None]], -1), sigma * d)
        return blurred[..., :3] / blurred[..., 3:].clamp(min=1e-4)

    # Where the light's model fails, there is a shadow's edge; where the expression folds the skin, its lines are not
    # this person's own. Neither belongs to the neutral head.
    broadest, broad, spots = (slow(sigma, weight) for sigma in (SLOW_FEATURES, SLOW_SKIN, SLOW_SPOTS))
    features = torch.maximum(brow_window(keypoints, size), lip_window(keypoints, size))[..., None]
    missing = torch.maximum(broadest.mean(-1).abs(), (1 - features[..., 0]) * broad.mean(-1).abs())
    steady = torch.exp(-((missing / SHADOW) ** 2) - (seen.moved / FOLDED) ** 2)
    # The skin around a brow is what the brow is measured by; the brow, the photo's or the guess's, is none of it.
    level = slow(SLOW_FEATURES, weight * ((missed - broadest).mean(-1).abs() < LEVEL))
    fine = (missed - spots).clamp(*SPOTS) + (spots - broad).clamp(*FOLDS)
    detail = features * (missed - level).clamp(*FEATURES) + (1 - features) * fine
    grey = detail.mean(-1, keepdim=True)
    albedo = grey + 0.6 * (detail - grey)  # colours are surer of the guess than of a camera
    hair, iris = (seen.hair > 0.9) & inside, (seen.gaze > PUPIL_ANGLE + 0.04) & (seen.gaze < IRIS_ANGLE - 0.06) & inside
    clear = min(1.0, max(0.0, (view.unit - SMUDGE) / (CLEAR - SMUDGE)))
    of_hair = _correction(whole, hair, FEWEST_OF_HAIR, 1.0)
    return Detail(albedo, weight * steady, of_hair, _correction(whole, iris, FEWEST_OF_IRIS, clear))


def _correction(missed: Tensor, where: Tensor, fewest: int, worth: float) -> tuple[Tensor, float]:
    """The median (3,) of what a region's guess misses; glints and strands of the background are outliers."""
    if int(where.sum()) < fewest:
        return NOTHING
    return missed[where].median(0).values.clamp(-CORRECTION, CORRECTION), worth


def _pooled(corrections: Sequence[tuple[Tensor, float]]) -> Tensor:
    """(3,) mean of several photographs' corrections, no surer than the surest."""
    worths = torch.tensor([worth for _, worth in corrections])
    values = torch.stack([value for value, _ in corrections])
    mean: Tensor = (worths[:, None] * values).sum(0) / worths.sum().clamp(min=1e-6)
    return mean * worths.max()


def _at(details: Sequence[Detail], texels: Sequence[Texels]) -> tuple[Tensor, Tensor]:
    """Albedo (N,3) and weight (N,1) of several photographs' detail at the texels."""
    read = [t.read(torch.cat([d.albedo, d.weight[..., None]], -1)) for d, t in zip(details, texels, strict=True)]
    weights = torch.stack([r[:, 3:] * t.visible[:, None] for r, t in zip(read, texels, strict=True)])
    albedos = torch.stack([r[:, :3] for r in read])
    return (albedos * weights**2).sum(0) / (weights**2).sum(0).clamp(min=1e-6), weights.amax(0)


@torch.no_grad()
def add_photo_detail(
    net: GeometryNet,
    mesh: HeadMesh,
    atlas: Atlas,
    maps: Tensor,
    hair: Tensor,
    views: list[View],
    progress: Progress = ignored,
) -> Tensor:
    """Maps (S,S,5) 0..1, padded, whose albedo carries the photographs' detail. hair (V,): its share at the vertices."""
    details = []
    for n, view in enumerate(views):
        progress(0.8 * n / len(views))
        details.append(detail_of(view))
    progress(0.8)
    vertex_fields = torch.stack([hair, gaze_angle(mesh.canonical, eye_centres(net))], 1)
    fields, texels = texel_values(atlas, vertex_fields, mesh.faces)
    zone = mesh.zone[torch.from_numpy(atlas.tri.reshape(-1))[texels]]
    own, seen = _at(details, [view.texels for view in views])
    other, lent = _at(details, [view.mirrored for view in views])
    change = STRENGTH * (zone == SKIN)[:, None] * (seen * own + (1 - seen) * lent * other)
    change = change + fields[:, :1] * _pooled([x.hair for x in details])
    iris = torch.sigmoid((IRIS_ANGLE - fields[:, 1]) / 0.02) * (fields[:, 1] > PUPIL_ANGLE) * (zone == EYES)
    change = change + iris[:, None] * _pooled([x.iris for x in details])
    out = maps.reshape(-1, maps.shape[-1]).clone()
    out[texels, :3] = linear_to_srgb((srgb_to_linear(out[texels, :3]) * change.exp()).clamp(0.002, 0.95))
    return torch.from_numpy(atlas.pad(out.view_as(maps).numpy()))
