# SPDX-License-Identifier: GPL-3.0-or-later
"""A small head bundle whose every number is known, written with numpy, json and zlib: no Pillow, no bpy, no backend."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXPRESSIONS = ("smile", "mouth_stretch", "brow_raiser")
# Stored bytes of the one-colour maps.
ALBEDO = (200, 150, 120)
OWN_ALBEDO = (220, 90, 80)
ROUGHNESS = 140
SPECULAR = 128
SIZE = 16


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """(H,W,3) or (H,W) uint8 as an 8-bit PNG, no filter."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def ellipsoid(rows: int = 12, columns: int = 24) -> dict[str, NDArray[Any]]:
    """A closed ellipsoid of a head's size, outward faces, with a nose towards -Y, a seam in UV and three offsets."""
    theta = np.linspace(0, np.pi, rows + 1)[1:-1]
    phi = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    ring = np.stack(np.meshgrid(theta, phi, indexing="ij"), axis=-1).reshape(-1, 2)
    unit = np.stack(
        [np.sin(ring[:, 0]) * np.sin(ring[:, 1]), -np.sin(ring[:, 0]) * np.cos(ring[:, 1]), np.cos(ring[:, 0])], axis=1
    )
    unit = np.concatenate([unit, [[0, 0, 1], [0, 0, -1]]])
    vertices = unit * np.array([0.075, 0.095, 0.13])
    nose = np.exp(-40 * (unit[:, 0] ** 2 + (unit[:, 2] + 0.05) ** 2)) * (unit[:, 1] < 0)
    vertices[:, 1] -= 0.02 * nose

    top, bottom = len(unit) - 2, len(unit) - 1
    faces, faces_uv = [], []
    across = columns + 1
    last = rows - 2
    for j in range(columns):
        k = (j + 1) % columns
        faces.append((top, j, k))
        faces_uv.append((across * (last + 1) + j, j, j + 1))
        faces.append((bottom, last * columns + k, last * columns + j))
        faces_uv.append((across * (last + 2) + j, last * across + j + 1, last * across + j))
        for i in range(last):
            a, b, c, d = i * columns + j, i * columns + k, (i + 1) * columns + k, (i + 1) * columns + j
            p, q, r, s = i * across + j, i * across + j + 1, (i + 1) * across + j + 1, (i + 1) * across + j
            faces += [(a, d, c), (a, c, b)]
            faces_uv += [(p, s, r), (p, r, q)]
    u = np.arange(across) / columns
    rings = np.stack(np.meshgrid(1 - theta / np.pi, u, indexing="ij"), axis=-1)[..., ::-1].reshape(-1, 2)
    poles = [np.stack([u, np.full(across, v)], axis=1) for v in (1.0, 0.0)]
    uv = np.concatenate([rings, *poles])

    smile, stretch, brow = np.zeros((3, len(unit), 3))
    smile[:, 0] = 0.008 * np.sign(unit[:, 0]) * np.exp(-20 * (unit[:, 2] + 0.4) ** 2) * (unit[:, 1] < 0)
    stretch[:, 2] = -0.03 * (unit[:, 2] < -0.4) * (unit[:, 1] < 0)
    brow[:, 2] = 0.006 * np.exp(-30 * (unit[:, 2] - 0.35) ** 2) * (unit[:, 1] < 0)
    return {
        "vertices": vertices.astype(np.float32),
        "faces": np.array(faces, dtype=np.int32),
        "uv": uv.astype(np.float32),
        "faces_uv": np.array(faces_uv, dtype=np.int32),
        "offsets": np.stack([smile, stretch, brow]).astype(np.float32),
    }


def header() -> dict[str, object]:
    return {
        "format_version": 1,
        "generator": "idto3d 0.1.0",
        "units": "metres",
        "expressions": list(EXPRESSIONS),
        "pack": "synthetic",
        "seed": 2**40,
        "settings": {"preset": "test"},
        "photos": [{"name": "a.jpg", "identity_score": 0.5}],
        "timings": {"geometry": 1.5},
        "licence": "CC0-1.0",
        "consent": "synthetic, no person",
    }


def write(folder: Path, rows: int = 12, columns: int = 24, expressions: tuple[str, ...] = EXPRESSIONS) -> Path:
    """Write the bundle into the new folder ``folder``. Expressions beyond the three that have offsets repeat these."""
    folder.mkdir(parents=True)
    information = {**header(), "expressions": list(expressions)}
    (folder / "head.json").write_text(json.dumps(information), encoding="utf-8")
    arrays: dict[str, Any] = ellipsoid(rows, columns)
    arrays["offsets"] = np.stack([arrays["offsets"][number % len(EXPRESSIONS)] for number in range(len(expressions))])
    np.savez(folder / "head.npz", **arrays)
    full = np.ones((SIZE, SIZE, 1), dtype=np.uint8)
    write_png(folder / "albedo.png", full * np.array(ALBEDO, dtype=np.uint8))
    write_png(folder / "albedo_mouth_stretch.png", full * np.array(OWN_ALBEDO, dtype=np.uint8))
    write_png(folder / "roughness.png", full[..., 0] * np.uint8(ROUGHNESS))
    write_png(folder / "specular.png", full[..., 0] * np.uint8(SPECULAR))
    write_png(folder / "preview.png", np.zeros((20, 30, 3), dtype=np.uint8))
    return folder
