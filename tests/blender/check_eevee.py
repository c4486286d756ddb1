# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: two frames of a turntable in EEVEE. ``python check_eevee.py WORK`` as check_import.py.

Without a way to OpenGL (libEGL) Blender ends the whole process: the test looks for that first.
"""

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.studio import turntable
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic

WORK = Path(sys.argv[-1])
SIZE = 96


def rendered(scene: Any, frame: int) -> np.ndarray:
    """(SIZE,SIZE,4) linear colours and alpha of a frame."""
    file = WORK / f"frame-{frame}.png"
    scene.frame_set(frame)
    scene.render.filepath = str(file)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(file))
    return np.array(image.pixels[:]).reshape(SIZE, SIZE, 4)


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    synthetic.write(WORK / "head")
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "head")) == {"FINISHED"}
    scene = bpy.context.scene
    assert bpy.ops.idto3d.light_rig(rig="FRONT") == {"FINISHED"}
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    assert bpy.ops.idto3d.turntable(frames=40, engine="EEVEE") == {"FINISHED"}
    assert scene.render.engine == turntable.EEVEE
    scene.eevee.taa_render_samples = 4
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    front, side = rendered(scene, 1), rendered(scene, 11)
    for name, picture in (("front", front), ("side", side)):
        head = picture[..., 3] > 0.5
        assert 0.15 < head.mean() < 0.9, f"{name}: the head covers {head.mean():.0%} of the picture"
        assert head[SIZE // 2, SIZE // 2] and not head[:, 0].any() and not head[:, -1].any(), (
            f"{name}: not in the middle"
        )
        red, _, blue = picture[head][:, :3].mean(axis=0)
        assert red > 1.1 * blue and 0.05 < red < 0.98, f"{name}: not skin: {red:.2f} {blue:.2f}"
    assert np.abs(front - side).max() > 0.1, "the camera does not turn"
    widths = [int((picture[..., 3] > 0.5).any(axis=0).sum()) for picture in (front, side)]
    assert widths[1] > widths[0], f"a head is deeper than it is wide: {widths}"
    blender_session.leave()


main()
