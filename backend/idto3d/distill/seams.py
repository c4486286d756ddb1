# SPDX-License-Identifier: GPL-3.0-or-later
"""UV seams: edges of the surface with two places in the UV, or in two materials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from ..render.skin import sample_map
from .scene import HAIR, Scene

ALONG = (0.0, 0.25, 0.5, 0.75)  # places on an edge; its end begins the next one


@dataclass(frozen=True, eq=False)
class Seam:
    """The same N places of the surface in two maps, or twice in one: materials and uv (N,2)."""

    one: str
    other: str
    uv_one: Tensor
    uv_other: Tensor


def find_seams(scene: Scene, painted: Sequence[str]) -> list[Seam]:
    """Seams of the head model between painted materials."""
    model = scene.model
    corners, places = model.triangles, model.triangles_uv
    pairs = [(0, 1), (1, 2), (2, 0)]
    vertex = np.concatenate([corners[:, p] for p in pairs])
    place = np.concatenate([places[:, p] for p in pairs])
    material = np.tile(model.material[model.triangle_quad], 3)
    turned = vertex[:, 0] > vertex[:, 1]
    vertex[turned], place[turned] = vertex[turned][:, ::-1], place[turned][:, ::-1]
    order = np.lexsort((vertex[:, 1], vertex[:, 0]))
    a, b = order[:-1], order[1:]
    same = (vertex[a] == vertex[b]).all(1)
    a, b = a[same], b[same]
    uv = model.uv[place]
    apart = (material[a] != material[b]) | (np.abs(uv[a] - uv[b]).max((1, 2)) > 1e-6)
    a, b = a[apart], b[apart]
    names = [m.name for m in model.materials]
    out = []
    for one in (n for n in painted if n != HAIR):
        for other in (n for n in painted if n != HAIR):
            rows = (material[a] == names.index(one)) & (material[b] == names.index(other))
            if rows.any():
                ends = [_along(uv[side[rows]]).to(scene.device) for side in (a, b)]
                out.append(Seam(one, other, ends[0], ends[1]))
    return out


def seam_gap(seams: Sequence[Seam], residuals: Mapping[str, Tensor]) -> Tensor:
    """Mean squared difference of residuals, material to (1,C,S,S), between the two sides of the seams."""
    gaps = [
        (sample_map(residuals[s.one], s.uv_one) - sample_map(residuals[s.other], s.uv_other)).square() for s in seams
    ]
    return torch.cat(gaps).mean() if gaps else next(iter(residuals.values())).new_zeros(())


def _along(ends: Array) -> Tensor:
    """(4 N,2) places on edges (N,2,2)."""
    share = np.array(ALONG)[:, None, None]
    return torch.from_numpy(
        (ends[None, :, 0] + share * (ends[:, 1] - ends[:, 0])[None]).reshape(-1, 2).astype(np.float32)
    )
