# SPDX-License-Identifier: GPL-3.0-or-later
"""Previews of a head in the making: its current mesh with vertex colours for Blender's viewport, and a picture.

Nothing here draws a random number or keeps a gradient: a head with previews is bit for bit the head without.
"""

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .arrays import Array
from .bundle import SKIN, Bundle, to_blender_frame, to_uint8, write_bundle
from .clock import Events
from .errors import UserError
from .finish.head import SEE_THROUGH, Head
from .finish.picture import portrait, render_head
from .preview_files import PreviewFiles
from .render.studio import portrait_light

MESH_SECONDS, PICTURE_SECONDS = 2.0, 4.0
SHARE = 0.04  # share of the running time that previews may take
PICTURE_SIZE = 384


class Live:
    """Shows a head in a folder's preview files, as often as its share of the running time allows."""

    def __init__(self, folder: Path, events: Events, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self._files = PreviewFiles(folder, events)
        self._due = dict.fromkeys(("mesh", "picture"), clock())

    def show(self, head: Callable[[], Head], now: bool = False) -> None:
        """Show the head if a preview is due, or with `now`; `head` is called only then."""
        if now:
            self._due = dict.fromkeys(self._due, self.clock())
        if not self._is_due("mesh", "picture"):
            return
        with self._spending(free=now):
            current = head()
            if self._is_due("mesh"):
                self._show_mesh(current)
            if self._is_due("picture"):
                camera = portrait(current, 0.0, PICTURE_SIZE)
                self._show_picture(render_head(current, camera, PICTURE_SIZE, portrait_light()))

    def show_bundle(self, name: str, bundle: Callable[[], Bundle]) -> Path | None:
        """Write a whole head beside the previews; None where that fails. `bundle` is not called once previews have
        failed."""
        if self._files.failed:
            return None
        try:
            return write_bundle(bundle(), self.folder / name)
        except UserError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            self._files.give_up(error.__cause__)
            return None

    def keep_picture(self, name: str, picture: NDArray[np.uint8]) -> Path:
        """A picture (H,W,3) that stays until the folder goes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self.folder.glob(f"{name}-*.png"))) + 1
        path = self.folder / f"{name}-{number:06d}.png"
        Image.fromarray(picture).save(path, "PNG", compress_level=1)
        return path

    def _is_due(self, *kinds: str) -> bool:
        return not self._files.failed and any(self.clock() >= self._due[kind] for kind in kinds)

    @contextlib.contextmanager
    def _spending(self, free: bool) -> Iterator[None]:
        """Delay the next previews by what this one took, so that SHARE is kept."""
        began = self.clock()
        yield
        now = self.clock()
        if not free:
            rest = now + (now - began) / SHARE
            self._due = {kind: max(due, rest) for kind, due in self._due.items()}

    def _show_mesh(self, head: Head) -> None:
        faces = head.quads.astype(np.int32)
        arrays: dict[str, Array] = {
            "vertices": to_blender_frame(head.vertices),
            "faces": faces,
            "colours": vertex_colours(head),
        }
        topology = zlib.crc32(faces.astype("<i4").tobytes())
        # not compressed: that would take longer than all the rest
        self._files.show("mesh", "npz", lambda file: np.savez(file, **arrays), topology=topology)  # type: ignore[arg-type]
        self._due["mesh"] = self.clock() + MESH_SECONDS

    def _show_picture(self, picture: Array) -> None:
        image = Image.fromarray(to_uint8(picture))
        self._files.show("picture", "png", lambda file: image.save(file, "PNG", compress_level=1))
        self._due["picture"] = self.clock() + PICTURE_SECONDS


def vertex_colours(head: Head) -> NDArray[np.uint8]:
    """(V,3) uint8 sRGB: each vertex's albedo, read at one of its corners. Vertex colours have no opacity: lash cards
    get the mean colour of lashes over skin, else they would be black strips."""
    out = np.full((len(head.vertices), 3), 0.5, np.float32)
    for n, name in enumerate(head.materials):
        rows = head.material == n
        corners, places = head.quads[rows].ravel(), head.quads_uv[rows].ravel()
        real = corners >= 0
        corners, places = corners[real], places[real]
        image = head.maps[name]
        size = len(image)
        uv = head.uv[places]
        row = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
        column = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
        out[corners] = image[row, column, :3]
        if name == SEE_THROUGH and SKIN in head.maps:
            cover = head.alpha[name].mean()
            out[corners] = cover * out[corners] + (1 - cover) * head.maps[SKIN][..., :3].mean(axis=(0, 1))
    return to_uint8(out)
