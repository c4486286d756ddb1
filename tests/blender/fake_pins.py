# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that answers pins without computing: ``python fake_pins.py``. Each pin moves the whole head along X by a
tenth of a millimetre for each pixel that it lies right of pixel 100; beyond pixel 1000 it is refused."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.blender import synthetic_bundle as synthetic

STEP = 1e-4
POSED = 0.002
PROJECTED = (10, 250, 20)


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def answer(request: dict[str, Any], number: int) -> None:
    job, bundle = request["job"], Path(request["bundle"])
    with np.load(bundle / "head.npz") as stored:
        vertices, faces, part = (stored[name] for name in ("vertices", "faces", "part"))
    if any(pin["pixel"][0] > 1000 for pin in request["pins"]):
        say(type="error", job=job, code="E_FIT_PINS", message="Nobody has such a head.", fix="Move it back.")
        return
    moved = np.zeros_like(vertices)
    moved[:, 0] = sum(STEP * (pin["pixel"][0] - 100) for pin in request["pins"])
    skin = faces[part == 0]
    skin = np.concatenate([skin[:, :3], skin[skin[:, 3] >= 0][:, [0, 2, 3]]])
    fit = json.loads((bundle / "fit.json").read_text(encoding="utf-8"))
    posed = np.zeros((len(fit["photos"]), *vertices.shape), np.float32)
    posed[..., 2] = POSED
    path = Path(request["folder"]) / f"{number}.npz"
    front = skin[np.argsort(vertices[skin].mean(1)[:, 1])[:3]]
    np.savez(path, moved=moved, posed=posed, skin=skin, corners=front, weights=np.full((3, 3), 1 / 3, np.float32))
    photos = [{"name": one["name"], **one["camera"], "picture": None} for one in fit["photos"]]
    say(type="refit", job=job, path=str(path), photos=photos, outlines=[{"handles": [0, 1, 2], "closed": True}])
    if request.get("out"):
        out = Path(request["out"])
        shutil.copytree(bundle, out)
        pixels = np.full((synthetic.SIZE, synthetic.SIZE, 3), PROJECTED, dtype=np.uint8)
        synthetic.write_png(out / "maps" / "skin_albedo.png", pixels)
    say(type="done", job=job, bundle=str(bundle))


if __name__ == "__main__":
    say(type="hello", protocol=1)
    for number, line in enumerate(sys.stdin):
        asked = json.loads(line)
        if asked["type"] == "shutdown":
            break
        answer(asked, number)
