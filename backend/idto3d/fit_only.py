# SPDX-License-Identifier: GPL-3.0-or-later
"""`idto3d fit`: how photographs are understood, without making a head of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .clock import Events
from .deliver import verdict_of
from .fit.overlay import overlay
from .fit.subject import fit_subject
from .headmodel import load_head_model
from .photos import load_face_nets, read_faces
from .prior.pack import read_pack


def fit_photos(photos: Sequence[str | Path], out: Path, pack: Path, events: Events) -> None:
    """Write `out`/fit.json, a row a photo, and `out`/overlay.png, the fitted head over each; one event a photo.

    Raises UserError of photos and of the fit; then nothing is written.
    """
    read = read_pack(pack)
    model = load_head_model(read.file("head.safetensors"))
    faces, notices = read_faces([str(p) for p in photos], load_face_nets(read.path / "photos"))
    fitted = fit_subject(model, faces)
    rows, pictures = [], []
    for face, photo in zip(fitted.faces, fitted.fit.photos, strict=True):
        rows.append({"name": photo.name, **verdict_of(model, photo)})
        pictures.append(overlay(model, face, photo.camera, fitted.fit.posed(model, photo)))
    for notice in (*notices, *fitted.notices):
        events({"type": "warning", "code": notice.code, "message": notice.message})
    out.mkdir(parents=True, exist_ok=True)
    identity = [round(float(a), 4) for a in fitted.fit.identity]
    text = json.dumps({"identity": identity, "photos": rows}, indent=2, ensure_ascii=False)
    (out / "fit.json").write_text(text + "\n", encoding="utf-8")
    Image.fromarray(np.concatenate(pictures, 1)).save(out / "overlay.png")
    events({"type": "done", "bundle": str(out)})
