# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples a trained pack's head anew on the grid of `template.canonical_axes`, without training anything:

python -m idto3d.training.regrid backend/packs/starter
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ..head.geometry_net import GeometryNet
from .shape import ControlTopology
from .template import canonical_axes, skin_grid


def regrid(path: Path) -> GeometryNet:
    """The network of a geometry.safetensors with new axes and skin distances."""
    net = GeometryNet.load(path)
    topology = ControlTopology(net.faces.numpy(), net.uv.numpy(), net.uv_faces.numpy(), net.part.numpy())
    skin = skin_grid(net.control.double().numpy(), topology)
    for name, axis in zip(("axis_x", "axis_y", "axis_z"), canonical_axes(), strict=True):
        setattr(net, name, torch.from_numpy(axis).float())
    net.skin_sdf = torch.from_numpy(skin).float()
    return net


def main(pack: Path) -> None:
    path = pack / "geometry.safetensors"
    partial = path.with_suffix(".partial")
    regrid(path).save(partial)
    partial.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
