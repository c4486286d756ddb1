# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundle to .blend and pictures without a window, in a Python that has bpy:

``python -m idto3d_blender.head.headless BUNDLE --blend head.blend --tiles DIR [--samples N] [--size PX]``

Standard output is one JSON object a line: ``blend``, then ``tile`` for each picture, then ``done``; or ``error`` with
code, message and fix, and exit status 2. What Blender itself prints goes to standard error.
"""

import argparse
import contextlib
import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import bpy

from ..studio import stage, tiles
from . import bundle, folders, import_head
from .prepare import Prepared, prepare

# What a whole file ends with: where a full disk cuts off a picture or the end of a .blend, Blender says nothing.
PNG_END = b"IEND\xaeB`\x82"
BLEND_END = b"\xb1\xea\x92\x8f"  # of zstd's seek table


def check_whole(file: Path, end: bytes) -> None:
    """Raises OSError (full disk) where a file that Blender has written does not end as it should."""
    if not file.is_file() or not file.read_bytes().endswith(end):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def save_blend(file: Path) -> None:
    """Save the open file as ``file``, compressed, whole or not at all. Raises OSError or Blender's RuntimeError."""
    file = file.resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.stem}.tmp-{os.getpid()}.blend")
    before = folders.as_seen_from(file)
    try:
        # relative_remap would turn the packed images' "//albedo.png" into a path of this machine.
        bpy.ops.wm.save_as_mainfile(filepath=str(temporary), compress=True, copy=True, relative_remap=False)
        check_whole(temporary, BLEND_END)
        os.replace(temporary, file)
    finally:
        folders.put_back(before)
        temporary.unlink(missing_ok=True)


def build_scene(prepared: Prepared) -> tuple[Any, stage.Framing]:
    """An empty file with a head in a portrait studio. Returns the object and its framing."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    head = import_head.import_prepared(prepared, scene.collection)
    bpy.context.view_layer.objects.active = head
    framing = stage.frame_head(head)
    stage.add_camera(scene, framing)
    stage.add_lights(scene, framing)
    scene.world = stage.grey_world()
    # AgX takes the colour out of bright skin and turns brown hair orange: here a head is compared with its photo.
    # A studio's own colour configuration may have no such view.
    with contextlib.suppress(TypeError):
        scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    return head, framing


def disk_is_full(error: Exception) -> bool:
    """Whether an error means a full disk: Blender's operators only say so in their message."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def run(folder: Path, blend: Path, tiles_folder: Path, samples: int, size: int, events: TextIO) -> None:
    """Import, save, render; writes an event a line to ``events``. Raises bundle.BundleError."""

    def emit(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    start = time.monotonic()
    prepared = prepare(folder)
    head, framing = build_scene(prepared)
    tiles.set_up_cycles(bpy.context.scene, size, samples)
    save_blend(blend)
    emit(type="blend", path=str(blend), seconds=round(time.monotonic() - start, 2))
    files = prepared.head
    whole = [
        name for name, group in zip(files.expressions, files.expression_groups, strict=True) if group == "expression"
    ]
    photo = files.fit.photos[0] if files.fit is not None else None
    wanted = tiles.tiles(whole, photo is not None)
    finished = 0

    def done(tile: tiles.Tile, file: Path, seconds: float) -> None:
        nonlocal finished
        check_whole(file, PNG_END)
        finished += 1
        emit(type="tile", name=tile.name, path=str(file), step=finished, steps=len(wanted), seconds=round(seconds, 2))

    tiles.render_tiles(tiles.Sitting(bpy.context.scene, head, framing, photo), wanted, tiles_folder, done)
    emit(type="done", blend=str(blend), tiles=str(tiles_folder), seconds=round(time.monotonic() - start, 2))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m idto3d_blender.head.headless", description="Head bundle to .blend")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--blend", type=Path, required=True, help="file to save")
    parser.add_argument("--tiles", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--samples", type=int, default=16, help="Cycles samples a pixel")
    parser.add_argument("--size", type=int, default=320, help="side of a picture in pixels")
    options = parser.parse_args(arguments)
    # Cycles writes its own progress to file descriptor 1: keep that for our events, send Blender's to 2.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    try:
        run(options.bundle, options.blend, options.tiles, options.samples, options.size, events)
    except (bundle.BundleError, OSError, RuntimeError) as error:
        if isinstance(error, bundle.BundleError):
            event = {"type": "error", "code": error.code, "message": error.message, "fix": error.fix}
        elif disk_is_full(error):
            fix = "Free some space, then try again; the bundle is whole."
            event = {"type": "error", "code": "E_DISK_FULL", "message": "The disk is full.", "fix": fix}
        else:
            raise
        events.write(json.dumps(event) + "\n")
        return 2
    finally:
        events.close()
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written. The static destructors of the bpy wheel now and then wait for each other for ever (4.5.15).
    os._exit(status)
