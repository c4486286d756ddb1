# SPDX-License-Identifier: GPL-3.0-or-later
"""The head model's expressions in ARKit's names, and what the blendshape net makes of landmarks."""

from collections.abc import Sequence

import numpy as np

from idto3d_shared.live_link import SHAPES

from ..arrays import Array
from ..photos.blendshapes import NAMES, score_blendshapes
from ..photos.landmarks import upright
from ..photos.nets import FaceNets


def arkit_of_model(names: Sequence[str]) -> Array:
    """(52,E): expressions by the model's names to ARKit's. Those that the model has by sides are their mean."""
    index = {name: n for n, name in enumerate(names)}
    out = np.zeros((len(SHAPES), len(names)))
    for row, name in enumerate(SHAPES):
        stem = name.removesuffix("Left").removesuffix("Right")
        side = {"Left": "_L", "Right": "_R"}.get(name[len(stem) :], "")
        own = [index[one] for one in (name, stem + side) if one in index][:1]
        own = own or [index[one] for one in (f"{name}_L", f"{name}_R") if one in index]
        out[row, own] = 1 / max(1, len(own))
    return out


def model_of_arkit(names: Sequence[str]) -> Array:
    """(E,52): what each expression of the model is in ARKit's shapes, for those that have one."""
    return (arkit_of_model(names) > 0).T.astype(np.float64)


_FROM_NET = np.array([[1.0 if name == own else 0.0 for own in NAMES] for name in SHAPES])


def read_shapes(points: Array, nets: FaceNets) -> Array:
    """(52,) scores 0..1 in the order of SHAPES that the net gives landmarks (478,2) in pixels; of the tongue it says
    nothing."""
    angle = np.deg2rad(upright(points))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    scores = score_blendshapes(points @ turn.T, nets)
    return _FROM_NET @ np.array([scores[name] for name in NAMES])
