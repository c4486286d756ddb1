# SPDX-License-Identifier: GPL-3.0-or-later
"""A video file to a CSV of Live Link Face, with progress and previews; the CSV is whole or absent."""

import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from idto3d_shared.live_link import write_take

from ..arrays import Array
from ..clock import Clock, Events
from ..errors import UserError
from ..fit.projection import BROWS, EYES, OVAL
from ..headmodel import load_head_model
from ..photos.landmarks import LIPS
from ..photos.nets import load_face_nets
from ..places import absolute, check_file, not_writable
from ..preview_files import PreviewFiles
from ..prior.pack import read_pack
from ..whole_file import whole
from .motion import FILE, load_motion
from .person import vertices_of_head
from .read import read_track
from .track import track
from .video import Frame, Video

WATCHING, READING, SAVING = "watching the video", "reading the face", "saving"
# Seconds between two events of progress and between two previews, and a preview's longer side.
_TELL, _SHOW, _PREVIEW = 0.25, 1.0, 384
_LINE = (64, 176, 255)
# Of the frames; less is warned of.
_SEEN = 0.8
_WHOLE = 0.95  # of the seconds that a file states


def capture(
    video: str | Path,
    out: str | Path,
    pack: Path,
    head: Path | None,
    events: Events,
    previews: str | Path | None = None,
) -> Path:
    """Read the face in a video and write its movements to the CSV `out`. Returns its path.

    head: a bundle's folder, or a file like its head.npz: whose face it is; None: the video itself has to tell.
    events: as of the protocol: progress, preview (kind "picture"), warning, poll; may raise Cancelled.

    video: a file, or camera:<number>:<seconds>, see `Video`.

    Raises UserError: E_VIDEO_MISSING, E_VIDEO_UNREADABLE, E_VIDEO_CAMERA, E_VIDEO_NO_FACE, E_CAPTURE_HEAD,
    E_OUT_NOT_WRITABLE, E_PACK_...
    """
    target = absolute(out)
    check_file(target)
    if target.exists() and target.suffix.lower() != ".csv":
        raise UserError("E_OUT_NOT_WRITABLE", f"{target.name} is there already, and no CSV.", "Choose another name.")
    if target.exists() and Path(video).exists() and target.samefile(video):
        raise UserError("E_OUT_NOT_WRITABLE", f"{target.name} is the video itself.", "Choose another name.")
    pack = read_pack(pack).path
    model, nets = load_head_model(pack / "head.safetensors"), load_face_nets(pack / "photos")
    motion = load_motion(pack / FILE)
    vertices = None if head is None else vertices_of_head(model, head)
    clock, shown = Clock(events, _TELL), _Previews(Path(previews), events) if previews else None
    with Video(video) as frames:

        def watched(number: int, frame: Frame, points: Array | None) -> None:
            clock(WATCHING, number, max(frames.frames, number + 1))  # what files say of themselves is not always so
            if shown is not None:
                shown.show(frame, points)

        tracked = track(frames, nets, watched)
    ends = float(tracked.times[-1]) + 1 / frames.rate
    if ends < _WHOLE * frames.seconds:
        message = f"{frames.name} breaks off at {ends:.1f} s of {frames.seconds:.1f} s: it is damaged or not whole."
        events({"type": "warning", "code": "W_VIDEO_CUT", "message": message})
    share = float(tracked.seen.mean())
    if not tracked.seen.any():
        message = f"No face was found in {frames.name}."
        raise UserError(
            "E_VIDEO_NO_FACE", message, "Choose a video that shows the face, evenly lit, close to the camera."
        )
    if share < _SEEN:
        message = f"The face is seen in {share:.0%} of the frames only; what lies between is bridged."
        events({"type": "warning", "code": "W_VIDEO_FACE_LOST", "message": message})
    take = read_track(model, nets, motion, tracked, vertices, partial(clock, READING))
    clock(SAVING, 1, 1)
    try:
        with whole(target) as unfinished:
            write_take(take, unfinished)
    except OSError as error:
        raise not_writable(target, error) from error
    return target


class _Previews:
    """Pictures of the video as it is watched, not too often."""

    def __init__(self, folder: Path, events: Events) -> None:
        self._files, self._shown = PreviewFiles(folder, events), -np.inf

    def show(self, frame: Frame, points: Array | None) -> None:
        now = time.monotonic()
        if not self._files.failed and now - self._shown > _SHOW:
            self._shown = now
            picture = cv2.imencode(".png", overlay(frame.image, points))[1].tobytes()
            self._files.show("picture", "png", lambda file: file.write(picture))


def overlay(image: NDArray[np.uint8], points: Array | None) -> NDArray[np.uint8]:
    """A frame (H,W,3) BGR made small, with the lines of the face (478,2) as it was understood."""
    scale = min(1.0, _PREVIEW / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    if points is not None:
        at = (points + 0.5) * scale - 0.5
        lines = [np.rint(at[list(outline)] * 16).astype(np.int32) for outline in (*EYES, *BROWS, LIPS, OVAL)]
        cv2.polylines(small, lines, True, _LINE, 1, cv2.LINE_AA, 4)
    return np.asarray(small, np.uint8)
