# SPDX-License-Identifier: GPL-3.0-or-later
"""How skin usually varies over a head, measured on the head kit's photographed skins: pale ears are redder than faces,
dark necks darker."""

import numpy as np
from scipy.sparse import diags_array
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from ..arrays import Array
from ..fit.projection import skin_mask, srgb_to_linear
from ..fit.visibility import draw_depth
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from ..mesh.surface import uniform_laplacian
from .data import DataConfig, population_of
from .population import Population
from .regions import SCALP, orbit
from .transfer import sample_texture

TEXTURE = 128  # pixels a side of the kit's skins, of four millimetres
DERIVED = "derived"  # in the names of skins that others were made into
PICTURE = 512  # pixels a side
HAIRLINE = 0.02  # metres around the scalp in which some of the skins are shaven


def find_complexion(config: DataConfig) -> dict[str, Array]:
    """The arrays `complexion_*` of a `HeadModel`: a line for each vertex and channel through the kit's skins."""
    population = population_of(config)
    skins = kit_skins(population)
    model, faces = population.model, _seen_in_face(population.model)
    tones = np.log(np.einsum("p,npc->nc", faces, np.exp(skins)))
    lightness = tones.mean(1)
    off, over = lightness - lightness.mean(), skins - tones[:, None]
    slope = np.tensordot(off, over, 1) / (off @ off)
    mean = over.mean(0) - slope * lightness.mean()
    found = {"complexion_mean": mean, "complexion_slope": slope}
    return {name: _smooth_under_hair(model, field).astype(np.float32) for name, field in found.items()}


def kit_skins(population: Population) -> Array:
    """(N,P,3) logarithms of linear albedo of the kit's original skins on a head model's vertices, symmetric."""
    model, kit, transfer = population.model, population.kit, population.transfer
    uv = transfer.places.of(transfer.kit.triangles_uv, transfer.kit.uv)
    names = sorted({name for names in kit.meta["skins"].values() for name in names if DERIVED not in name})
    out = np.zeros((len(names), len(model.neutral), 3))
    for n, name in enumerate(names):
        albedo = srgb_to_linear(sample_texture(kit._pooled(name, TEXTURE, False) / 255, uv))
        out[n, transfer.skin] = np.log(np.maximum(albedo, 1e-3))
    return 0.5 * (out + out[:, model.mirror])


def _seen_in_face(model: HeadModel) -> Array:
    """(P,) each vertex's share of the bare skin in a frontal picture of the face, which the tone is the mean of."""
    camera, triangles = orbit(0.0, PICTURE), model.triangles_of(*SKIN_PARTS, "sclera")
    triangle = draw_depth(camera, model.neutral, triangles, PICTURE).triangle
    landmarks, _ = camera.project(model.landmarks(model.neutral))
    shown = triangle[skin_mask(PICTURE, landmarks) & (triangle >= 0)]
    count = np.bincount(triangles[shown].ravel(), minlength=len(model.neutral)) * model.vertices_of(SKIN_PARTS[0])
    return count / count.sum()


def _smooth_under_hair(model: HeadModel, field: Array) -> Array:
    """field (P,3) of the skin, that around it going on over the scalp, which is shaven in some; 0 inside the head."""
    skin = model.vertices_of(*SKIN_PARTS)
    away, _ = cKDTree(model.neutral[model.scalp > SCALP]).query(model.neutral)
    bare = (skin & (away > HAIRLINE)).astype(np.float64)
    laplacian = uniform_laplacian(model.triangles_of(*SKIN_PARTS), len(field))
    solver = splu((diags_array(np.maximum(bare, 1e-9)) + diags_array(1 - bare) @ laplacian).tocsc())
    return solver.solve(field * bare[:, None]) * skin[:, None]
