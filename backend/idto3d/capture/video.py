# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of a video file or a live camera, upright, with their own times, decoded in a thread."""

import contextlib
import os
import queue
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from idto3d_shared.fit_file import is_utf8

from ..errors import UserError

_AHEAD = 8  # frames decoded in advance
_LEAST_FRAMES = 2
_SMALLEST = 32
_CAMERA = re.compile(r"camera:(\d{1,2})(?::(\d{1,4}))?")
_SECONDS = 20


@dataclass(frozen=True, eq=False)
class Frame:
    """time: seconds by the file, at an uneven rate perhaps; image (H,W,3) uint8 BGR, upright."""

    time: float
    image: NDArray[np.uint8]


class Video:
    """A video file, or camera:<number>:<seconds>, a camera of this computer. frames: the number that the file states, 0
    if it does not; iterate once to get them. seconds: that those last, 0 if it is not stated.

    Frames are rotated as the file says. Times are the frames' own, as phones change their rate with the light; a file
    without times gets its mean rate.
    """

    def __init__(self, file: str | Path) -> None:
        """Raises UserError: E_VIDEO_MISSING, E_VIDEO_UNREADABLE (no picture in it, damaged), E_VIDEO_CAMERA."""
        camera = _CAMERA.fullmatch(str(file))
        self._lasts = float(camera[2] or _SECONDS) if camera else np.inf
        self.name = f"camera {camera[1]}" if camera else Path(file).name
        self._reader = _open_camera(int(camera[1])) if camera else _open_file(Path(file).absolute())
        rate = float(self._reader.get(cv2.CAP_PROP_FPS))
        self.rate = rate if np.isfinite(rate) and 1.0 <= rate <= 1000.0 else 30.0
        count = self._reader.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames = int(count) if np.isfinite(count) and 0 < count < 1e8 else 0
        self.seconds = self.frames / self.rate if not camera else 0.0
        if camera:
            self.frames = round(self._lasts * self.rate)
        self._queue: queue.Queue[Frame | None] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._decode, name="idto3d-video", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        """Raises E_VIDEO_UNREADABLE at the end of a file that had fewer than two frames, or too small ones."""
        self._thread.start()
        count = 0
        while (frame := self._queue.get()) is not None:
            if min(frame.image.shape[:2]) < _SMALLEST:
                raise unreadable(self.name, f"is only {frame.image.shape[1]} x {frame.image.shape[0]} pixels")
            count += 1
            yield frame
        if count < _LEAST_FRAMES:
            raise unreadable(self.name, "ends before its second picture: it is damaged, or no video")

    def close(self) -> None:
        """Stop decoding."""
        self._stopped.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        if self._thread.is_alive():
            self._thread.join()
        self._reader.release()

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _decode(self) -> None:
        last, began = -1.0, time.monotonic()
        with contextlib.suppress(cv2.error):
            while not self._stopped.is_set():
                read, image = self._reader.read()
                if not read or image is None:
                    break
                if np.isfinite(self._lasts):  # a live camera
                    at = time.monotonic() - began
                    if at > self._lasts:
                        break
                else:
                    at = float(self._reader.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
                # Damaged files have times that repeat or decrease.
                if not np.isfinite(at) or at <= last:
                    at = last + 1.0 / self.rate if last >= 0 else 0.0
                last = at
                self._put(Frame(at, np.asarray(image, np.uint8)))
        self._put(None)

    def _put(self, frame: Frame | None) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(frame, timeout=0.1)
                return


def _open_file(path: Path) -> Any:
    if not os.path.isfile(path):
        raise UserError("E_VIDEO_MISSING", f"{path.name} is not there.", "Choose the video again.")
    if not is_utf8(str(path)):  # OpenCV ends the process
        name = path.name.encode(errors="replace").decode()
        raise UserError("E_VIDEO_UNREADABLE", f"{name} has a name or a folder that is no text.", "Rename it.")
    # FFmpeg alone: other readers of OpenCV take numbered pictures and cameras for videos.
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    reader.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    if not reader.isOpened():
        raise unreadable(path.name, "holds no pictures that can be read")
    return reader


def _open_camera(number: int) -> Any:
    reader = cv2.VideoCapture(number)
    if not reader.isOpened():
        fix = "Plug one in, close programs that film with it, and let Blender use the camera in the system's settings."
        raise UserError("E_VIDEO_CAMERA", f"There is no camera {number} that can be used.", fix)
    return reader


def unreadable(name: str, why: str) -> UserError:
    """E_VIDEO_UNREADABLE."""
    return UserError(
        "E_VIDEO_UNREADABLE", f"{name} {why}.", "Choose a video, or save it again as MP4 (H.264) with another program."
    )
