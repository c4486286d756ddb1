# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth of skin in eyeballs and teeth for a finished head's keys, alone and in random natural mixtures.

python -m idto3d.evaluate.keys BUNDLE... [--mixtures 500]
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import Array
from ..bundle import read_bundle, to_head_frame
from ..bundle.glb import triangulate
from ..finish.arkit import ARKIT
from ..finish.mixtures import draw
from .crossings import Crossings, find_crossings
from .table import Row, print_table

DEEPEST = 0.3  # mm of depth that are allowed
ALONE = (0.35, 0.7, 1.0)
SEED = 1000


@dataclass(frozen=True)
class Held:
    """The deepest crossing, mm, of lids and lips, at keys alone and in mixtures, and how many poses are over DEEPEST;
    worst: what those were."""

    lids_alone: float
    lips_alone: float
    lids_mixed: float
    lips_mixed: float
    over: int
    worst: tuple[str, ...]


def measure_keys(crossings: Crossings, vertices: Array, offsets: Mapping[str, Array], mixtures: int) -> Held:
    """vertices (V,3) at rest and what each key adds (V,3), metres."""
    depths: list[list[tuple[float, float]]] = [[], []]
    over, worst = 0, []

    def look(kind: int, posed: Array, told: str) -> None:
        nonlocal over
        lid, lip = 1e3 * crossings.lid_depth(posed), 1e3 * crossings.lip_depth(posed)
        depths[kind].append((lid, lip))
        if max(lid, lip) > DEEPEST:
            over += 1
            worst.append(f"lids {lid:.2f}, lips {lip:.2f}: {told}")

    for name, offset in offsets.items():
        for weight in ALONE:
            look(0, vertices + weight * offset, f"{name} {weight}")
    keys = np.stack([offsets[name] for name in ARKIT]).reshape(len(ARKIT), -1)
    for row in draw(np.random.default_rng(SEED), mixtures):
        told = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(ARKIT, row, strict=True) if weight)
        look(1, vertices + (row @ keys).reshape(-1, 3), told)
    (lids_alone, lips_alone), (lids_mixed, lips_mixed) = (np.max([(0, 0), *rows], axis=0) for rows in depths)
    return Held(lids_alone, lips_alone, lids_mixed, lips_mixed, over, tuple(worst))


def measure_bundle(path: Path, mixtures: int) -> Held:
    """The keys of a bundle. Raises UserError E_BUNDLE_..."""
    bundle = read_bundle(path)
    triangles, _, face = triangulate(bundle.faces, bundle.faces_uv)
    vertices = to_head_frame(bundle.vertices).astype(np.float64)
    crossings = find_crossings(vertices, triangles.astype(np.int64), bundle.part[face], bundle.parts)
    offsets = dict(zip(bundle.expressions, to_head_frame(bundle.offsets), strict=True))
    return measure_keys(crossings, vertices, offsets, mixtures)


def key_rows(heads: Sequence[Held]) -> list[Row]:
    """The worst of several heads."""
    worst = {name: max(getattr(h, name) for h in heads) for name in Held.__annotations__ if "_" in name}
    note = f"{len(heads)} heads, {sum(h.over for h in heads)} poses over"
    return [
        Row(f"keys: {name.replace('_', ' ')}", value, DEEPEST, unit="mm", note=note) for name, value in worst.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m idto3d.evaluate.keys", description=__doc__)
    parser.add_argument("bundle", nargs="+", type=Path)
    parser.add_argument("--mixtures", type=int, default=500)
    given = parser.parse_args()
    heads = []
    for path in given.bundle:
        heads.append(measure_bundle(path, given.mixtures))
        print(path.name, *heads[-1].worst, sep="\n  ", flush=True)
    print(print_table(key_rows(heads)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
