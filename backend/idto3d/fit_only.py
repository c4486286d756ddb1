# SPDX-License-Identifier: GPL-3.0-or-later
"""`idto3d fit`: how photographs are understood, without making a head of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from idto3d_shared.fit_file import FIT, fit_text

from .clock import Events
from .errors import UserError
from .fit.overlay import overlay
from .fit.record import record_fit
from .fit.subject import fit_subject
from .headmodel import load_head_model
from .notices import warn
from .photos import load_face_nets
from .places import absolute
from .prior.pack import read_pack
from .subject import read_subject
from .verdict import fit_event
from .whole_file import whole


def fit_photos(photos: Sequence[str | Path], out: Path, pack: Path, events: Events) -> None:
    """Write `out`/fit.json, as a bundle has it, and `out`/overlay.png, the fitted head over each photo; one `fit` event
    a photo.

    Raises UserError of photos and of the fit, then nothing is written, and E_OUT_NOT_WRITABLE.
    """
    out, photos = absolute(out), [absolute(photo) for photo in photos]
    if (out / "head.json").exists():  # it has a fit.json of its own, which its mesh goes with
        raise UserError("E_OUT_NOT_WRITABLE", f"{out.name} is a head.", "Choose another folder for the fit.")
    read = read_pack(pack)
    model = load_head_model(read.file("head.safetensors"))
    subject = read_subject(photos, read, load_face_nets(read.path / "photos"))
    warn(events, subject.notices)  # before the fit, which may fail for what was left out
    fitted = fit_subject(model, subject.faces)
    warn(events, fitted.notices)
    pairs = list(zip(fitted.faces, fitted.fit.photos, strict=True))
    pictures = [overlay(model, face, photo.camera, fitted.fit.posed(model, photo)) for face, photo in pairs]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with whole(out / FIT) as unfinished:
            unfinished.write_text(fit_text(record_fit(model, fitted.fit, fitted.faces)), encoding="utf-8")
        Image.fromarray(np.concatenate(pictures, 1)).save(out / "overlay.png")
    except OSError as error:
        message = f"Nothing can be saved in {out.name}: {error.strerror or error}."
        raise UserError("E_OUT_NOT_WRITABLE", message, "Choose another folder.") from error
    for _, photo in pairs:
        events(fit_event(model, photo, str(out / "overlay.png")))
    events({"type": "done", "bundle": str(out)})
