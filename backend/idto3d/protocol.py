# SPDX-License-Identifier: GPL-3.0-or-later
"""Contract 3: what Blender and the backend say to each other, one JSON object a line, UTF-8.

Blender starts ``python -m idto3d worker`` and writes requests to its stdin; events come on its stdout; stderr is a log.
Closed stdin means that Blender is gone: the worker checkpoints and ends. Jobs run one after the other, in the order in
which they were asked for; a job's name (any string, chosen by Blender) stands in each of its events.

Events, each with ``type``:

========= ==============================================================================================================
hello     first of all: protocol, version (of this package), python, torch, device ("cpu" | "cuda"), device_name,
          memory_gb (free), cores
heartbeat every second, from a thread of its own, also while a step takes long
queued    job, position: it waits behind so many others; 0: its turn has come. Sent when a job is accepted and whenever
          its position changes
progress  job (or null: what comes before any job, such as loading), stage, step, steps, eta_seconds (of the stage, or
          null)
preview   job, kind "mesh": path of a .npz with vertices (V,3) float32 in the bundle's frame (metres, Z up, facing -Y),
          faces (F,3) or (F,4) int32, -1 last in a triangle, and, from the texture stage on, colours (V,3) uint8 sRGB.
          topology: an integer; while it stays, so do faces and the order of the vertices. kind "picture": path of a
          PNG. Files are written whole and never changed; the worker deletes all but the last three of a kind
fit       job, photo (its file's name), verdict "good" | "fair" | "poor", reason (why it is not good, or ""),
          residual_mm (root mean square of the landmarks' distances), yaw, pitch (degrees, positive to the picture's
          right and up), expression (names with commas, the strongest first, or "neutral"), overlay: path of a PNG, the
          mesh laid over the photo, or null. One for each photo
sketch    job, bundle: folder of the head as the photos alone make it, a whole bundle, which stays until the job is done
          or forgotten. Blender shows it in place, moves it by the mesh previews that have the same faces (others
          replace it), and offers to keep it as it is
warning   job, code, message
refit     job, path of a .npz with moved (V,3) float32 metres, how the neutral head has moved from the bundle's; posed
          (N,V,3) what each photo's expression adds; skin (F,3) int32 triangles that pins can be put on; handles'
          corners (H,3) int32 and weights (H,3) float32; photos [{name, camera as in fit.json, picture: path of the
          photo where a program might not show it as it is, or null}], outlines [{handles [number], closed}]
error     job (or null: the line was no good request), code, message, fix. Ends the job
cancelled job, resumable: asking for the same job again goes on from its checkpoint
done      job, bundle: folder, or take: path of the CSV
========= ==============================================================================================================

Requests:

========= ==============================================================================================================
generate  job, photos [path], out (folder of the bundle), pack (folder, or null: starter), quality "draft" |
          "standard" | "fine", expressions "all" or names with commas, prompt, seed, previews (a folder for preview
          files, or null), log (a file to which stderr is appended from now on, or null). May be left out: pack, quality
          ("standard"), expressions ("all"), prompt, seed (0), previews, log
refit     job, bundle (folder of a head that has a fit.json), folder (for the answer's file), pins [{photo (number in
          fit.json), corners [3 vertices of the bundle], weights [3], pixel [x, y] of the photo upright}], pack, photos
          [path or "" where it is not to be found, one a photo of fit.json], out: folder for the head as it is then, its
          photos laid on it anew, or null: only the answer is wanted. May be left out: pins, pack, photos, out, log
capture   job, video (path), out (path of the CSV that it becomes), head (whose face it is: folder of a bundle, or a
          file like its head.npz; null: the video has to tell), pack, previews, log. May be left out: head and all after
cancel    job: acts at the next step, keeps the checkpoint; a waiting job is dropped (``cancelled`` too). A job that has
          just ended is no error
shutdown  cancel everything and end
========= ==============================================================================================================

Codes of the worker's own errors, besides those of photos (E_PHOTO_..., E_FACE_..., E_NO_FACE), of the fit (E_FIT_...),
packs (E_PACK_...), bundles (E_BUNDLE_...) and videos (E_VIDEO_..., E_CAPTURE_HEAD): E_REQUEST a line that is no good
request; E_SETUP the environment lacks a package; E_OUT_NOT_WRITABLE, E_DISK_FULL, E_OUT_OF_MEMORY; E_INTERNAL anything
unexpected, traceback in the log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from .errors import UserError

PROTOCOL_VERSION = 1
HEARTBEAT_SECONDS = 1.0
Quality = Literal["draft", "standard", "fine"]
QUALITY_NAMES = ("draft", "standard", "fine")
LINE_BYTES = 1 << 20
"""Longest request; a line beyond it is refused without being kept."""
MOST_PINS = 500
_PIN = ("photo", "corners", "weights", "pixel")


@dataclass(frozen=True)
class Generate:
    """Make a head; the fields are those of the request."""

    job: str
    photos: tuple[str, ...]
    out: str
    pack: str | None = None
    quality: Quality = "standard"
    expressions: str = "all"
    prompt: str = ""
    seed: int = 0
    previews: str | None = None
    log: str | None = None


@dataclass(frozen=True)
class PinRequest:
    """A place of a bundle's skin, three vertices and their weights, and the pixel where one of its photos has it."""

    photo: int
    corners: tuple[int, int, int]
    weights: tuple[float, float, float]
    pixel: tuple[float, float]


@dataclass(frozen=True)
class Refit:
    """Lay a head over its photos and pull it by pins; the fields are those of the request."""

    job: str
    bundle: str
    folder: str
    pins: tuple[PinRequest, ...] = ()
    photos: tuple[str, ...] = ()
    pack: str | None = None
    out: str | None = None
    log: str | None = None


@dataclass(frozen=True)
class Capture:
    """Read the face in a video; the fields are those of the request."""

    job: str
    video: str
    out: str
    head: str | None = None
    pack: str | None = None
    previews: str | None = None
    log: str | None = None


@dataclass(frozen=True)
class Cancel:
    """Stop a job, keep its checkpoint."""

    job: str


@dataclass(frozen=True)
class Shutdown:
    """Cancel everything and end."""


Request = Generate | Refit | Capture | Cancel | Shutdown


class BadRequest(UserError):
    """E_REQUEST. job: whose request it was, or None where the line does not say."""

    def __init__(self, message: str, job: str | None = None) -> None:
        super().__init__("E_REQUEST", message, "Update the extension and the backend to the same release.")
        self.job = job


def parse_request(line: bytes) -> Request:
    """One line of stdin. Raises BadRequest."""
    try:
        data = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"A line is not JSON in UTF-8: {error}.") from error
    if not isinstance(data, dict):
        raise BadRequest("A line is not a JSON object.")
    kind = data.pop("type", None)
    if kind == "shutdown":
        _no_others(data, None)
        return Shutdown()
    if kind not in ("generate", "refit", "capture", "cancel"):
        raise BadRequest(f"There is no request of type {str(kind)[:40]!r}.")
    job = data.pop("job", None)
    if not isinstance(job, str) or not job:
        raise BadRequest(f"A {kind} request names no job.")
    if kind == "cancel":
        _no_others(data, None)  # a bad cancel does not end the job
        return Cancel(job)
    if kind == "capture":
        return _capture(job, data)
    return _refit(job, data) if kind == "refit" else _generate(job, data)


def _generate(job: str, data: dict[str, Any]) -> Generate:
    photos, out = data.pop("photos", None), data.pop("out", None)
    if not isinstance(photos, list) or not all(_path(p) for p in photos):
        raise BadRequest("photos must be a list of paths.", job)
    if not _path(out):
        raise BadRequest("out must be a folder's path.", job)
    given = Generate(job, tuple(photos), out)
    checks = {
        "pack": ("a folder's path or null", lambda v: v is None or _path(v)),
        "quality": (f"one of {', '.join(QUALITY_NAMES)}", lambda v: v in QUALITY_NAMES),
        "expressions": ("text", lambda v: isinstance(v, str)),
        "prompt": ("text", lambda v: isinstance(v, str)),
        "seed": (
            "a whole number from 0 to 4294967295",
            lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**32,
        ),
        "previews": ("a folder's path or null", lambda v: v is None or _path(v)),
        "log": ("a file's path or null", lambda v: v is None or _path(v)),
    }
    chosen: dict[str, Any] = {}
    for name, (wanted, good) in checks.items():
        if name in data:
            chosen[name] = data.pop(name)
            if not good(chosen[name]):
                raise BadRequest(f"{name} must be {wanted}.", job)
    _no_others(data, job)
    return Generate(given.job, given.photos, given.out, **chosen)


def _capture(job: str, data: dict[str, Any]) -> Capture:
    given = {name: data.pop(name, None) for name in ("video", "out", "head", "pack", "previews", "log")}
    for name, value in given.items():
        if not (_path(value) or (value is None and name not in ("video", "out"))):
            raise BadRequest(f"{name} must be a path.", job)
    _no_others(data, job)
    return Capture(job, **given)


def _refit(job: str, data: dict[str, Any]) -> Refit:
    given = {name: data.pop(name, None) for name in ("bundle", "folder", "pack", "out", "log")}
    for name, value in given.items():
        if not (_path(value) or (value is None and name not in ("bundle", "folder"))):
            raise BadRequest(f"{name} must be a path.", job)
    pins, photos = data.pop("pins", []), data.pop("photos", [])
    if not isinstance(photos, list) or not all(p == "" or _path(p) for p in photos):
        raise BadRequest("photos must be a list of paths.", job)
    if not isinstance(pins, list) or len(pins) > MOST_PINS:
        raise BadRequest(f"pins must be a list of at most {MOST_PINS}.", job)
    _no_others(data, job)
    return Refit(job, pins=tuple(_pin(job, pin) for pin in pins), photos=tuple(photos), **given)


def _pin(job: str, given: Any) -> PinRequest:
    def numbers(name: str, count: int, kind: type) -> tuple[Any, ...]:
        values = given.get(name)
        if not isinstance(values, list) or len(values) != count or not all(map(_finite, values)):
            raise BadRequest(f"A pin's {name} must be {count} numbers.", job)
        return tuple(kind(value) for value in values)

    if not isinstance(given, dict) or not isinstance(given.get("photo"), int) or set(given) - set(_PIN):
        raise BadRequest("A pin must have photo, corners, weights and pixel.", job)
    corners, weights = numbers("corners", 3, int), numbers("weights", 3, float)
    return PinRequest(int(given["photo"]), corners, weights, numbers("pixel", 2, float))


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _path(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _no_others(data: dict[str, Any], job: str | None) -> None:
    if data:
        raise BadRequest(f"A request has an unknown field: {next(iter(data))[:40]!r}.", job)
