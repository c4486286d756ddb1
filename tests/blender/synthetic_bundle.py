# SPDX-License-Identifier: GPL-3.0-or-later
"""Small head bundles whose every number is known, written with numpy, json and zlib: no Pillow, no bpy, no backend.

`write` makes one of format 2, with quads, four materials, holes and expressions; `write_format_1` one of format 1.
"""

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
SPECULAR = 96
NORMAL = (128, 128, 255)
EYES, EYES_ROUGHNESS = (240, 240, 245), 0.1
# Red, green, blue, opacity: of the lashes' left half, which is there, and of the film of tears.
LASHES = (40, 30, 20, 255)
FILM = (255, 255, 255, 40)
MATERIALS = ("skin", "eyes", "lashes", "film")
PARTS = ("face", "eyeballs", "lashes", "eye_film")
SIZE = 16


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """(H,W,4), (H,W,3) or (H,W) uint8 as an 8-bit PNG, no filter."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    colour = {1: 0, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def ellipsoid(rows: int = 12, columns: int = 24, quads: bool = False) -> dict[str, NDArray[Any]]:
    """A closed ellipsoid of a head's size, outward faces, with a nose towards -Y, a seam in UV and three offsets.

    Faces are triangles (F,3) or, with `quads`, (F,4) with -1 last in the triangles at the poles.
    """
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
    faces: list[tuple[int, ...]] = []
    faces_uv: list[tuple[int, ...]] = []
    end = (-1,) if quads else ()
    across = columns + 1
    last = rows - 2
    for j in range(columns):
        k = (j + 1) % columns
        faces.append((top, j, k, *end))
        faces_uv.append((across * (last + 1) + j, j, j + 1, *end))
        faces.append((bottom, last * columns + k, last * columns + j, *end))
        faces_uv.append((across * (last + 2) + j, last * across + j + 1, last * across + j, *end))
        for i in range(last):
            a, b, c, d = i * columns + j, i * columns + k, (i + 1) * columns + k, (i + 1) * columns + j
            p, q, r, s = i * across + j, i * across + j + 1, (i + 1) * across + j + 1, (i + 1) * across + j
            faces += [(a, d, c, b)] if quads else [(a, d, c), (a, c, b)]
            faces_uv += [(p, s, r, q)] if quads else [(p, s, r), (p, r, q)]
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


def head(rows: int = 12, columns: int = 24) -> dict[str, NDArray[Any]]:
    """The arrays of format 2: the ellipsoid as face, two eyeballs in it, and before each a lash and a film."""
    face = ellipsoid(rows, columns, quads=True)
    ball = ellipsoid(6, 8, quads=True)
    ball["vertices"] = (ball["vertices"] * 0.1 / (0.75, 0.95, 1.3)).astype(np.float32)
    square = np.array([(-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, 1)], np.float32)
    card = {
        "faces": np.array([(0, 1, 2, 3)], np.int32),
        "uv": np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32),
        "faces_uv": np.array([(0, 1, 2, 3)], np.int32),
    }
    pieces = [(0, face, face["vertices"])]
    for side in (-1, 1):
        eye = np.array([0.03 * side, -0.085, 0.02], np.float32)
        pieces.append((1, ball, ball["vertices"] + eye))
        pieces.append((2, card, square * (0.01, 1, 0.004) + eye + (0, -0.013, 0.012)))
        pieces.append((3, card, square * (0.01, 1, 0.006) + eye + (0, -0.012, 0)))
    made: dict[str, list[NDArray[Any]]] = {name: [] for name in ("vertices", "faces", "uv", "faces_uv", "material")}
    for number, piece, vertices in pieces:
        for name, base in (("faces", "vertices"), ("faces_uv", "uv")):
            first = sum(map(len, made[base]))
            made[name].append(np.where(piece[name] < 0, -1, piece[name] + first).astype(np.int32))
        made["vertices"].append(vertices.astype(np.float32))
        made["uv"].append(piece["uv"])
        made["material"].append(np.full(len(piece["faces"]), number, np.int32))
    arrays = {name: np.concatenate(parts) for name, parts in made.items()}
    count = len(arrays["vertices"])
    still = ((0, 0), (0, count - len(face["vertices"])), (0, 0))
    arrays |= {"part": arrays["material"].copy(), "offsets": np.pad(face["offsets"], still)}
    arrays["seen"] = (arrays["vertices"][:, 1] < 0).astype(np.float32)
    return arrays


GAINS: tuple[dict[str, float], ...] = ({"smile": 0.8}, {"smile": 1.0, "mouth_stretch": 0.75})
"""Of the wrinkle mask's channels."""


def header(version: int = 2) -> dict[str, Any]:
    given: dict[str, Any] = {
        "format_version": version,
        "generator": "idto3d 0.2.0",
        "units": "metres",
        "expressions": list(EXPRESSIONS),
        "pack": "synthetic (CC0-1.0)",
        "seed": 2**40,
        "settings": {"preset": "test"},
        "photos": [{"name": "a.jpg", "identity_score": 0.5}],
        "timings": {"geometry": 1.5},
        "licence": "CC0-1.0",
        "consent": "synthetic, no person",
    }
    if version == 1:
        return given
    colours = ((*ALBEDO, 255), (*EYES, 255), (*LASHES[:3], 128), FILM)
    materials: list[dict[str, Any]] = [
        {"name": name, "alpha": "opaque", "colour": [value / 255 for value in colour], "maps": ["albedo"]}
        | {"roughness": EYES_ROUGHNESS, "specular": 0.5}
        for name, colour in zip(MATERIALS, colours, strict=True)
    ]
    own = ["albedo_mouth_stretch", "normal", "roughness", "seen", "specular"]
    materials[0] |= {"roughness": None, "specular": None, "maps": ["albedo", *own]}
    materials[2]["alpha"], materials[3]["alpha"] = "clip", "blend"
    return {**given, "parts": list(PARTS), "materials": materials}


def write(folder: Path, rows: int = 12, columns: int = 24, expressions: tuple[str, ...] = EXPRESSIONS) -> Path:
    """Write a bundle of format 2, without its glb, into the new folder ``folder``. Expressions beyond the three that
    have offsets repeat these."""
    _write(folder, header(2), head(rows, columns), expressions)
    maps = folder / "maps"
    maps.mkdir()
    lashes = _plain(LASHES)
    lashes[:, SIZE // 2 :, 3] = 0
    for name, pixels in (
        ("skin_albedo", _plain(ALBEDO)),
        ("skin_albedo_mouth_stretch", _plain(OWN_ALBEDO)),
        ("skin_normal", _plain(NORMAL)),
        ("skin_roughness", _plain((ROUGHNESS,))[..., 0]),
        ("skin_specular", _plain((SPECULAR,))[..., 0]),
        ("skin_seen", _plain((255,))[..., 0]),
        ("eyes_albedo", _plain(EYES)),
        ("lashes_albedo", lashes),
        ("film_albedo", _plain(FILM)),
    ):
        write_png(maps / f"{name}.png", pixels)
    return folder


def add_wrinkles(folder: Path) -> None:
    """Give a bundle of format 2 a wrinkle map that leans to the right, half as deep as can be, and its mask."""
    fade = {"map": "wrinkles_up", "mask": "wrinkles_up_mask_1"}
    info = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    info["wrinkles"] = [{**fade, "channel": channel, "gains": gains} for channel, gains in enumerate(GAINS)]
    (folder / "head.json").write_text(json.dumps(info), encoding="utf-8")
    write_png(folder / "maps" / "skin_wrinkles_up.png", _plain((192, 128, 238, 128)))
    write_png(folder / "maps" / "skin_wrinkles_up_mask_1.png", _plain((255, 0, 0)))


def write_format_1(folder: Path) -> Path:
    """Write a bundle of format 1 into the new folder ``folder``."""
    _write(folder, header(1), ellipsoid(), EXPRESSIONS)
    write_png(folder / "albedo.png", _plain(ALBEDO))
    write_png(folder / "albedo_mouth_stretch.png", _plain(OWN_ALBEDO))
    write_png(folder / "roughness.png", _plain((ROUGHNESS,))[..., 0])
    write_png(folder / "specular.png", _plain((SPECULAR,))[..., 0])
    return folder


def _write(folder: Path, info: dict[str, Any], arrays: dict[str, Any], expressions: tuple[str, ...]) -> None:
    folder.mkdir(parents=True)
    (folder / "head.json").write_text(json.dumps({**info, "expressions": list(expressions)}), encoding="utf-8")
    arrays["offsets"] = np.stack([arrays["offsets"][number % len(EXPRESSIONS)] for number in range(len(expressions))])
    np.savez(folder / "head.npz", **arrays)
    write_png(folder / "preview.png", np.zeros((20, 30, 3), dtype=np.uint8))


def _plain(colour: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.full((SIZE, SIZE, len(colour)), colour, dtype=np.uint8)
