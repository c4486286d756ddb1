# SPDX-License-Identifier: GPL-3.0-or-later
"""How a job's progress reads to a person. No bpy."""

import re
from collections.abc import Sequence

from ..jobs.snapshot import Fit, Snapshot

_STAGES = {
    "loading programs": "Loading PyTorch",
    "reading photos": "Looking at the photos",
    "fitting the head": "Fitting the head to them",
    "reading the photos' colours": "Laying their colours on it",
    "carving the hair": "Carving the hair",
    "looking back": "Looking at what was understood",
    "reading their detail": "Laying their detail on it",
    "loading the priors": "Loading what heads look like",
    "geometry": "Sculpting",
    "texture": "Painting the skin",
    "making the keys": "Making its expressions",
    "checking": "Checking",
    "saving": "Saving",
    "python environment": "Making a Python environment",
    "download": "Downloading",
    "install": "Installing",
    "check": "Trying it out",
}
_STATES = {
    "queued": "Waiting",
    "starting": "Starting",
    "cancelling": "Stopping at the next step",
    "cancelled": "Cancelled",
    "failed": "Failed",
    "done": "Finished",
}


def stage(snapshot: Snapshot) -> str:
    """What is going on, in a few words."""
    if snapshot.state == "running" and snapshot.stage:
        return _STAGES.get(snapshot.stage, snapshot.stage.capitalize())
    return _STATES.get(snapshot.state, "Starting")


def time_left(snapshot: Snapshot, shares: Sequence[tuple[str, float]]) -> str:
    """ "about 3 min left" of the whole work, or a blank while that is not known.

    The worker knows the time left in a stage; what comes after is estimated by the stages' usual ``shares``.
    """
    eta, by_name = snapshot.eta_seconds, dict(shares)
    if eta is None or snapshot.state != "running" or snapshot.stage not in by_name:
        return " "
    names = [name for name, _ in shares]
    later = sum(by_name[name] for name in names[names.index(snapshot.stage) + 1 :])
    left_in_stage = 1 - min(snapshot.step / snapshot.steps, 1.0) if snapshot.steps > 0 else 1.0
    if left_in_stage > 0.02:
        eta += later / by_name[snapshot.stage] * eta / left_in_stage
    return f"{duration(eta)} left"


_VERDICTS = {"good": "Understood well", "fair": "Understood in part", "poor": "Hardly understood"}
_DOES = {
    "mouth smile": "smiling", "mouth frown": "mouth turned down", "mouth pucker": "lips pursed",
    "jaw open": "mouth open", "cheek puff": "cheeks puffed", "brow down": "frowning",
    "brow inner up": "brows raised", "brow outer up": "brows raised",
    "eye blink": "eyes closed", "eye squint": "squinting", "eye wide": "eyes wide open",
}  # fmt: skip
_STRAIGHT = 5.0  # degrees that nobody would call turned


def verdict(fit: Fit) -> str:
    """How well a photo was understood, in a few words."""
    return _VERDICTS[fit.verdict]


def details(fit: Fit) -> str:
    """ "Fits to 1.2 mm, 23° left, smiling": what was understood, as the viewer of the photo sees it."""
    seen = [f"Fits to {fit.residual_mm:.1f} mm"]
    for angle, ways in ((fit.yaw, ("left", "right")), (fit.pitch, ("down", "up"))):
        if abs(angle) >= _STRAIGHT:
            seen.append(f"{abs(angle):.0f}° {ways[angle > 0]}")
    return ", ".join([*seen, *_moves(fit.expression)])


def _moves(expression: str) -> list[str]:
    """ "mouthSmile_L, mouthSmile_R, jawOpen" -> ["smiling"]: the strongest, as a sidebar has no room for more."""
    names = [re.sub(r"_[LR]$", "", name.strip()) for name in expression.split(",") if name.strip()]
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower() for name in names]
    return [_DOES.get(word, word) for word in words[:1]]


def duration(seconds: float) -> str:
    """Roughly, as one would say it."""
    if seconds < 50:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{max(1, minutes)} min"
    hours, rest = divmod(5 * round(minutes / 5), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` characters, for labels, which Blender does not wrap."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return lines
