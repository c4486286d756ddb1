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
          faces (F,4) int32, -1 last in a triangle, and colours (V,3) uint8 sRGB.
          topology: an integer; while it stays, so do faces and the order of the vertices. kind "picture": path of a
          PNG. Files are written whole and never changed; the worker deletes all but the last three of a kind
fit       job, photo (its name), verdict "good" | "fair" | "poor", reason (why it is not good, or ""),
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
          fit.json), corners [3 vertices of the bundle], weights [3], pixel [x, y] of the photo upright}], pack (folder,
          or null: the head's own), photos [path or "" where it is not to be found, one a photo of fit.json], out
          (folder for the head as it is then, its photos laid on it anew, or null: only the answer is wanted). May be
          left out: pins, pack, photos, out, log
capture   job, video (path), out (path of the CSV that it becomes), head (whose face it is: folder of a bundle, or a
          file like its head.npz; null: the video has to tell), pack (folder, or null: the head's own, else starter),
          previews, log. May be left out: head and all after
cancel    job: acts at the next step, keeps the checkpoint; a waiting job is dropped (``cancelled`` too). A job that has
          just ended is no error
shutdown  cancel everything and end
========= ==============================================================================================================

Codes of the worker's own errors, besides those of photos (E_PHOTO_..., E_FACE_..., E_NO_FACE), of the fit (E_FIT_...),
packs (E_PACK_...), bundles (E_BUNDLE_...) and videos (E_VIDEO_..., E_CAPTURE_HEAD): E_REQUEST a line that is no good
request; E_SETUP the environment lacks a package; E_OUT_NOT_WRITABLE, E_OUT_BUSY, E_DISK_FULL, E_OUT_OF_MEMORY;
E_INTERNAL anything unexpected, traceback in the log.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args

from .distill.config import Quality
from .errors import UserError

PROTOCOL_VERSION = 1
HEARTBEAT_SECONDS = 1.0
QUALITY_NAMES: tuple[str, ...] = get_args(Quality)
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


Task = Generate | Refit | Capture
Request = Task | Cancel | Shutdown


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
    kind, job = data.pop("type", None), data.pop("job", None)
    if kind == "shutdown":
        if job is not None or data:
            raise BadRequest("A shutdown request has other fields.")
        return Shutdown()
    if kind not in (*_TASKS, "cancel"):
        raise BadRequest(f"There is no request of type {str(kind)[:40]!r}.")
    if not isinstance(job, str) or not job:
        raise BadRequest(f"A {kind} request names no job.")
    if kind == "cancel":
        if data:
            raise BadRequest("A cancel request has other fields.")  # of no job: a bad one does not end it
        return Cancel(job)
    return _task(_TASKS[kind], job, data)


def _task(task: type[Task], job: str, data: dict[str, Any]) -> Task:
    """A request's fields (data) as a job. Those of the class that have no default may not be left out."""
    given: dict[str, Any] = {}
    for field in fields(task):
        if field.name == "job" or (field.name not in data and field.default is not MISSING):
            continue
        wanted, good = _FIELDS[field.name]
        value = data.pop(field.name, None)
        if not (good(value) or (value is None and field.default is None)):
            raise BadRequest(f"{field.name} must be {wanted}.", job)
        given[field.name] = tuple(value) if isinstance(value, list) else value
    if task is Generate and "" in given["photos"]:
        raise BadRequest(f"photos must be {_FIELDS['photos'][0]}.", job)
    if data:
        raise BadRequest(f"A request has an unknown field: {next(iter(data))[:40]!r}.", job)
    if "pins" in given:
        given["pins"] = tuple(_pin(job, pin) for pin in given["pins"])
    return task(job, **given)


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


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _are_paths(value: object) -> bool:
    """Of refit's photos some may be "": those that are not to be found."""
    return isinstance(value, list) and all(each == "" or _is_path(each) for each in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_TASKS: dict[str, type[Task]] = {"generate": Generate, "refit": Refit, "capture": Capture}
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("out", "pack", "previews", "log", "bundle", "folder", "video", "head"), ("a path", _is_path)),
    "photos": ("a list of paths", _are_paths),
    "pins": (f"a list of at most {MOST_PINS}", lambda value: isinstance(value, list) and len(value) <= MOST_PINS),
    "quality": (f"one of {', '.join(QUALITY_NAMES)}", lambda value: value in QUALITY_NAMES),
    "expressions": ("text", _is_text),
    "prompt": ("text", _is_text),
    "seed": (
        "a whole number from 0 to 4294967295",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32,
    ),
}
"""What a field must be, whichever request it belongs to; one whose default is null may be null, too."""
