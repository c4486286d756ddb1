# SPDX-License-Identifier: GPL-3.0-or-later
"""Procedural maps of teeth, gums and tongue, which photographs do not show well.

Teeth are yellower at the neck, greyer at the edge and darker from canine to molar (Hasegawa et al. 2000); gums are pale
at the teeth and red above; light falls off with depth in the mouth, which is painted for renderers without shadows.
"""

from functools import lru_cache

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel, Material
from ..mesh.solid_noise import solid_noise
from ..mesh.surface import pieces_of
from ..mesh.texels import Texels, make_texels
from ..ramps import smoothstep
from ..render.shading import linear_to_srgb, srgb_to_linear

TEETH, GUMS, TONGUE = "teeth", "gums", "tongue"
SIZE = 512  # a texel is a third of a millimetre

# Factors on the material's colour, linear RGB.
BODY, NECK, EDGE = (0.89, 0.88, 0.86), (0.78, 0.68, 0.53), (0.83, 0.83, 0.82)
CROWN, CLEAR = 0.0105, 0.0022  # metres: height of a crown, and of its translucent edge
BESIDE, SEAM = 0.0012, 0.45  # metres from the next tooth within which it is shaded, and the light left between them
INNER = 0.8  # light on the tongue's side
SHADES = 0.025  # standard deviation of lightness from tooth to tooth
PALE, RED = (1.55, 2.15, 2.2), (0.85, 0.75, 0.75)  # gums at the teeth, and far from them
COLLAR = 0.005  # metres of the transition
TIP, COAT, UNDER = (1.35, 1.45, 1.6), (1.5, 2.2, 2.3), (1.0, 0.85, 0.95)  # tongue
GROOVE, PAPILLAE = 0.0012, 0.07  # metres; deviation
# Metres over which light falls to a third, and how it falls: teeth stand in full light as far as to the canines.
DEPTH = {TEETH: (0.03, 2.0), GUMS: (0.032, 1.0), TONGUE: (0.05, 1.0)}
ROUGHER = {TEETH: 1.0, GUMS: 1.0, TONGUE: 1.7}  # than the material


def has_mouth_map(model: HeadModel, material: Material) -> bool:
    """Whether a material is of teeth, gums and tongue only."""
    own = model.material == model.materials.index(material)
    return bool(own.any()) and not (own & ~model.faces_of(TEETH, GUMS, TONGUE)).any()


@lru_cache(maxsize=2)
def mouth_map(model: HeadModel, material: Material) -> Array:
    """(SIZE,SIZE,5) albedo sRGB, roughness and specular of such a material, the same in every head of a model."""
    rows = (model.material == model.materials.index(material))[model.triangle_quad]
    at = make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], SIZE)
    factor, gloss = np.ones((len(at.index), 3), np.float32), np.ones((len(at.index), 2), np.float32)
    part = model.part[model.triangle_quad][rows][at.triangle]
    for name, painted in ((TEETH, _teeth), (GUMS, _gums), (TONGUE, _tongue)):
        own = part == model.part_names.index(name) if name in model.part_names else np.zeros(len(part), bool)
        if own.any():
            few = at.only(own)
            factor[own] = painted(model, few)
            depth = few.at(model.neutral)[:, 2]
            metres, power = DEPTH[name]
            light = np.exp(-(((depth.max() - depth) / metres) ** power))[:, None]
            factor[own] *= light
            gloss[own] = np.c_[np.full(len(light), ROUGHER[name]), light]
    albedo = linear_to_srgb((srgb_to_linear(torch.tensor(material.albedo)) * torch.from_numpy(factor)).clamp(0, 1))
    gloss = np.clip(gloss * [material.roughness, material.specular], 0, 1)
    return at.padded(at.image(np.c_[albedo.numpy(), gloss].astype(np.float32)))


def _teeth(model: HeadModel, at: Texels) -> Array:
    own = model.vertices_of(TEETH)
    tooth = pieces_of(model.triangles_of(TEETH), len(own))
    middle = model.neutral[own, 1].mean()
    fields = np.zeros((len(own), 4))  # metres from the edge, from the next tooth, how far inside, its shade
    rng = np.random.default_rng(0)
    centre = np.array([0.0, model.neutral[own, 2].min()])
    for n in np.unique(tooth[own]):
        here, others = own & (tooth == n), own & (tooth != n)
        points = model.neutral[here]
        upper = points[:, 1].mean() > middle
        fields[here, 0] = points[:, 1] - points[:, 1].min() if upper else points[:, 1].max() - points[:, 1]
        fields[here, 1] = cKDTree(model.neutral[others]).query(points)[0] if others.any() else 1.0
        away = np.linalg.norm(points[:, [0, 2]] - centre, axis=1)
        fields[here, 2] = np.clip((away.mean() - away) / 0.002, 0, 1)
        fields[here, 3] = rng.normal(0, SHADES)
    edge, beside, inner, shade = at.at(fields).T
    neck = smoothstep((edge / CROWN - 0.45) / 0.55)[:, None]
    clear = 1 - smoothstep(edge / CLEAR)[:, None]
    out = np.array(BODY) + neck * np.subtract(NECK, BODY)
    out = out + clear * (np.array(EDGE) - out)
    light = (SEAM + (1 - SEAM) * smoothstep(beside / BESIDE)) * (1 - (1 - INNER) * inner)
    grain = 1 + shade + 0.03 * solid_noise(at.at(model.neutral) * [1, 0.3, 1], 0.0012, 21)
    return out * (light * grain)[:, None]


def _gums(model: HeadModel, at: Texels) -> Array:
    points = at.at(model.neutral)
    teeth = model.neutral[model.vertices_of(TEETH)] if TEETH in model.part_names else points[:1]
    away = cKDTree(teeth).query(points)[0]
    red = smoothstep(away / COLLAR)[:, None]
    mottled = 1 + 0.06 * solid_noise(points, 0.004, 22) + 0.04 * solid_noise(points, 0.0012, 23)
    return (np.array(PALE) + red * np.subtract(RED, PALE)) * mottled[:, None]


def _tongue(model: HeadModel, at: Texels) -> Array:
    points = at.at(model.neutral)
    own = model.neutral[model.vertices_of(TONGUE)]
    low, high = own.min(0), own.max(0)
    half = np.maximum((high[0] - low[0]) / 2, 1e-6)
    bins = np.linspace(low[2], high[2], 12)
    near = [own[np.abs(own[:, 2] - z) < np.diff(bins)[0]] for z in bins]
    middle = np.interp(points[:, 2], bins, [(p[:, 1].max() + p[:, 1].min()) / 2 if len(p) else 0.0 for p in near])
    top = smoothstep((points[:, 1] - middle) / 0.003 + 0.5)[:, None]
    across = np.abs(points[:, 0]) / half
    coat = (smoothstep(1.25 - across) * smoothstep((high[2] - points[:, 2]) / 0.014))[:, None]
    upper = np.array(TIP) + coat * np.subtract(COAT, TIP)
    papillae = 1 + PAPILLAE * solid_noise(points, 0.0011, 24) + 0.05 * solid_noise(points, 0.006, 25)
    groove = 1 - 0.3 * np.exp(-((points[:, 0] / GROOVE) ** 2)) * smoothstep((high[2] - points[:, 2]) / 0.012)
    upper = upper * (papillae * groove)[:, None]
    return np.array(UNDER) + top * (upper - UNDER)
