# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: work on the parts of a head. ``python check_parts.py WORK`` as check_import.py."""

import sys
from pathlib import Path
from typing import Any

import bpy

import idto3d_blender
from idto3d_blender.head import import_head, mesh_data, naming, separate
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic

WORK = Path(sys.argv[-1])


def check_work_on_parts(head: Any) -> None:
    """What somebody has done to a part's own material, its UV or its weights is not lost with it."""

    def duller(part: Any) -> None:
        nodes = part.data.materials[0].node_tree.nodes
        next(node for node in nodes if node.type == "BSDF_PRINCIPLED").inputs["Sheen Weight"].default_value = 0.5

    def moved(part: Any) -> None:
        layer = part.data.attributes[mesh_data.uv_layer(part.data).name].data
        layer.foreach_set("vector", (0.5 * mesh_data.uv_of(part.data)).ravel())

    def grouped(part: Any) -> None:
        part.vertex_groups.new(name="mine").add([0, 1], 1.0, "REPLACE")

    def larger(part: Any) -> None:
        part.scale = (0.01, 0.01, 0.01)
        bpy.context.view_layer.update()
        assert bpy.ops.idto3d.life_size() == {"FINISHED"}

    def looked_at(part: Any) -> None:
        blender_session.look_into_edit_mode()

    def pinned_once(part: Any) -> None:
        part.data.attributes.new("idto3d_moved", "FLOAT_VECTOR", "POINT").data[0].vector.x = -0.0

    cases = ((duller, True), (moved, True), (grouped, True), (larger, False), (looked_at, False), (pinned_once, False))
    for change, stays in cases:
        assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
        part = bpy.context.object
        change(part)
        steps: Any = separate.together(part)
        whole, kept = import_head.run_to_end(steps)
        assert whole == head and kept == ([part] if stays else []), (change.__name__, kept)
        blender_session.select(head)
        naming.remove_objects(kept)


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    assert bpy.ops.idto3d.import_head(filepath=str(synthetic.write(WORK / "anna"))) == {"FINISHED"}
    check_work_on_parts(bpy.context.object)
    idto3d_blender.unregister()
    blender_session.leave()


main()
