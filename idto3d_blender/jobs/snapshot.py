# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a job as plain values, for panels to draw and the queue to keep. No bpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from .backend_process import Event

State = Literal["queued", "starting", "running", "cancelling", "cancelled", "failed", "done"]
Verdict = Literal["good", "fair", "poor"]
FINAL: tuple[State, ...] = ("cancelled", "failed", "done")


@dataclass(frozen=True)
class Problem:
    """A warning or an error: stable code (W_..., E_...), what happened, what to do."""

    code: str
    message: str
    fix: str = ""

    @property
    def said(self) -> str:
        """All of it, on one line."""
        return " ".join(filter(None, (self.message, self.fix, f"({self.code})")))


@dataclass(frozen=True)
class Fit:
    """How well a photo was understood. photo: its file's name; verdict: "good", "fair" or "poor", with a reason where
    it is not good; residual_mm: how far the head's landmarks lie from the photo's; yaw, pitch: degrees, positive to the
    picture's right and up; expression: names with commas; overlay: the mesh laid over the photo, or None."""

    photo: str
    verdict: Verdict
    residual_mm: float
    yaw: float
    pitch: float
    reason: str = ""
    expression: str = ""
    overlay: Path | None = None


@dataclass(frozen=True)
class Snapshot:
    """Where a job stands. Frozen: each poll that learns something makes a new one.

    step, steps and eta_seconds (or None) are of the stage; fraction is of the whole work, 0 to 1, never falling.
    mesh and picture are the newest preview files, topology the mesh's (None before the first); fits: of the photos so
    far; sketch: bundle of the head as it stands before it is finished, or None before; hello is the backend's
    first event (device, device_name, memory_gb, ...). error stands in the state "failed" only; bundle in "done" only,
    and is None for a set-up. resumable: asking again goes on from a checkpoint.
    """

    id: str
    state: State
    log: Path
    stage: str = ""
    step: int = 0
    steps: int = 0
    eta_seconds: float | None = None
    fraction: float = 0.0
    mesh: Path | None = None
    topology: int | None = None
    picture: Path | None = None
    fits: tuple[Fit, ...] = ()
    sketch: Path | None = None
    warnings: tuple[Problem, ...] = ()
    error: Problem | None = None
    bundle: Path | None = None
    resumable: bool = False
    garbage: int = 0
    hello: Mapping[str, Any] | None = None


def fit_of(event: Event) -> Fit:
    """The protocol's event. Raises KeyError, TypeError or ValueError for one that is none."""
    verdict, overlay = event["verdict"], event.get("overlay")
    if verdict not in get_args(Verdict):
        raise ValueError(f"there is no verdict {str(verdict)[:20]!r}")
    return Fit(
        str(event["photo"]),
        verdict,
        float(event["residual_mm"]),
        float(event["yaw"]),
        float(event["pitch"]),
        str(event.get("reason") or ""),
        str(event.get("expression") or ""),
        Path(overlay) if overlay else None,
    )
