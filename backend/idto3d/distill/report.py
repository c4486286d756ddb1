# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a stage has changed, by region."""

import numpy as np
import torch

from ..arrays import Array
from ..headmodel.model import SKIN_PARTS
from ..render.skin import sample_map
from .scene import HAIR, Scene

Report = dict[str, dict[str, float]]

SEEN = 0.5  # from here on a place counts as seen


def regions(scene: Scene) -> dict[str, Array]:
    """(P,) bool: the face as far as a photograph shows it and its rest; crown and back where hair may grow; neck, ears
    and what else of the skin there is."""
    model, seen = scene.model, scene.seen.cpu().numpy() >= SEEN
    face, skin = model.vertices_of(SKIN_PARTS[0]), model.vertices_of(*SKIN_PARTS)
    scalp = (model.scalp >= SEEN) & skin & ~(face & seen)
    rest = skin & ~scalp
    return {"face_seen": face & seen, "face_unseen": face & ~seen & ~scalp, "crown_back": scalp, "neck": rest & ~face}


def geometry_report(start: Scene, end: Scene, names: tuple[str, ...]) -> Report:
    """Root mean square and greatest motion in millimetres: of each region with neutral, of hair's distances, and of
    each other expression's displacement."""
    moved = (end.neutral - start.neutral).norm(dim=1).cpu().numpy()
    out = {name: _millimetres(moved[rows]) for name, rows in regions(start).items()}
    if start.hair is not None and end.hair is not None:
        out[HAIR] = _millimetres((end.hair.sdf - start.hair.sdf).cpu().numpy())
    changes = (end.displacements - start.displacements).norm(dim=2).cpu().numpy()
    skin = start.model.vertices_of(*SKIN_PARTS)
    for name, change in list(zip(names, changes, strict=True))[1:]:
        out[f"expression {name}"] = _millimetres(change[skin])
    return out


def texture_report(start: Scene, end: Scene) -> Report:
    """Mean and greatest change of the albedo, of 255 (sRGB): of each region at its vertices, and of hair's map."""
    model = start.model
    corner, vertex = model.triangles_uv.ravel(), model.triangles.ravel()
    material = np.repeat(model.material[model.triangle_quad], 3)
    change = np.full(len(model.neutral), np.nan)
    for number, name in enumerate(start.materials):
        rows = np.flatnonzero(material == number) if name != HAIR else np.zeros(0, int)
        if name in start.map_seen and len(rows):
            uv = torch.from_numpy(model.uv[corner[rows]]).to(start.device)
            colours = [sample_map(s.maps[name].permute(2, 0, 1)[None], uv)[:, :3] for s in (start, end)]
            change[vertex[rows]] = (255 * (colours[1] - colours[0])).abs().mean(1).cpu().numpy()
    painted = ~np.isnan(change)
    out = {name: _levels(change[rows & painted]) for name, rows in regions(start).items()}
    if HAIR in start.map_seen:
        away = (255 * (end.maps[HAIR] - start.maps[HAIR])[..., :3]).abs().mean(2)
        for name, where in (("hair_seen", start.map_seen[HAIR] >= SEEN), ("hair_unseen", start.map_seen[HAIR] < SEEN)):
            out[name] = _levels(away[where].cpu().numpy())
    return out


def _millimetres(moved: Array) -> dict[str, float]:
    if not len(moved):
        return {"rms_mm": 0.0, "max_mm": 0.0}
    return {
        "rms_mm": round(float(np.sqrt(np.mean(np.square(moved, dtype=np.float64)))) * 1000, 4),
        "max_mm": round(float(np.abs(moved).max()) * 1000, 4),
    }


def _levels(change: Array) -> dict[str, float]:
    if not len(change):
        return {"mean_255": 0.0, "max_255": 0.0}
    return {"mean_255": round(float(change.mean()), 3), "max_255": round(float(change.max()), 3)}
