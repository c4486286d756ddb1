# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a photograph was understood, as JSON for bundles and events."""

from typing import Any

from .clock import Event
from .fit.check import judge
from .fit.result import PhotoFit
from .headmodel import HeadModel


def verdict_of(model: HeadModel, photo: PhotoFit) -> dict[str, Any]:
    """The fit of a photograph, as JSON."""
    verdict = judge(photo)
    yaw, pitch, roll = photo.camera.angles
    strongest = sorted(range(len(photo.expression)), key=lambda k: -abs(photo.expression[k]))[:8]
    return {
        "verdict": verdict.word,
        "reason": verdict.reason,
        "residual_mm": round(photo.residual * 1000, 3),
        "yaw": round(yaw, 1),
        "pitch": round(pitch, 1),
        "roll": round(roll, 1),
        "distance_m": round(1 / photo.camera.inverse_distance, 3),
        "focal_length_px": round(photo.camera.focal, 1),
        "expression": {
            model.expression_names[k]: round(float(photo.expression[k]), 3)
            for k in strongest
            if abs(photo.expression[k]) > 0.1
        },
        "light": [[round(float(v), 4) for v in row] for row in photo.light],
    }


def fit_event(model: HeadModel, photo: PhotoFit, overlay: str | None) -> Event:
    """The protocol's event of a fitted photo; overlay: the picture's path."""
    told = verdict_of(model, photo)
    expression = ", ".join(told["expression"]) or "neutral"
    rows = {key: told[key] for key in ("verdict", "reason", "residual_mm", "yaw", "pitch")}
    return {"type": "fit", "photo": photo.name, **rows, "expression": expression, "overlay": overlay}
