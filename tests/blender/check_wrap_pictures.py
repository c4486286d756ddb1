# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: pictures that users have put into a head's skin, on a mesh of their own.

``python check_wrap_pictures.py WORK`` as check_import.py.
"""

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import import_head, mesh_data, naming, operators_wrap, wrap_head, wrap_maps
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused, select

WORK = Path(sys.argv[-1])
GREEN = (0.1, 0.6, 0.2, 1.0)


def baked(head: Any) -> Any:
    """A mesh that lies on the head's skin already, with the skin painted into its UV, which is turned upside down."""
    obj = head.copy()
    obj.data = head.data.copy()
    obj.shape_key_clear()
    obj.data.materials.clear()
    bpy.context.collection.objects.link(obj)
    obj.shape_key_add(name="Basis", from_mix=False)
    layer = obj.data.attributes[mesh_data.uv_layer(obj.data).name].data
    layer.foreach_set("vector", (1.0 - mesh_data.uv_of(obj.data)).ravel())
    own, skin = wrap_head.mesh_of(obj), wrap_head.skin_of(head)
    target = wrap_head.textured(obj, own.points, own.triangles)
    source = wrap_head._textured_skin(head, skin)
    import_head.run_to_end(wrap_maps.bake(obj, head, target, source, skin.nearest()))
    return obj


def picture(name: str, colour: tuple[float, ...]) -> Any:
    made = bpy.data.images.new(name, 32, 32)
    made.pixels.foreach_set(np.tile(np.array(colour, np.float32), 32 * 32))
    made.pack()
    return made


def check_own_albedo(head: Any) -> None:
    """One in the place of ours is painted into the mesh's own UV, as is one beside it."""
    tree = head.data.materials[0].node_tree
    tree.nodes["albedo"].image = mine = picture("painted by hand", GREEN)
    beside = tree.nodes.new("ShaderNodeTexImage")
    beside.name, beside.image = "tattoo", picture("tattoo", (0.0, 0.0, 1.0, 1.0))
    made = baked(head)
    nodes = made.data.materials[0].node_tree.nodes
    for name, colour in (("albedo", GREEN), ("tattoo", (0.0, 0.0, 1.0, 1.0))):
        image = nodes[name].image
        assert image not in (mine, beside.image) and image.get(naming.ROLE) == f"skin_{name}", (name, image)
        flat = np.empty((image.size[0] * image.size[1], 4), np.float32)
        image.pixels.foreach_get(flat.reshape(-1))
        assert np.abs(np.median(flat[:, :3], axis=0) - colour[:3]).max() < 0.01, name
    assert naming.ROLE not in mine
    bpy.data.objects.remove(made)


def check_missing(head: Any) -> None:
    """Of a picture that is gone it is told before the work, and of a skin of another material after it."""
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.1)
    ball = bpy.context.object
    select(head, ball)
    assert bpy.ops.idto3d.wrap_marks() == {"FINISHED"}
    select(head, ball)
    node = head.data.materials[0].node_tree.nodes["albedo"]
    before, gone = node.image, bpy.data.images.new("gone", 4, 4)
    gone.source, gone.filepath = "FILE", str(WORK / "gone.png")
    node.image = gone
    refused(bpy.ops.idto3d.wrap, "E_WRAP_PICTURE")
    node.image = before
    head.data.materials[0] = bpy.data.materials.new("toon")
    surface = wrap_head.mesh_of(ball)
    given = wrap_head.textured(ball, surface.points, surface.triangles)
    assert "has another material" in " ".join(operators_wrap._left_out(head, ball, given))


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    assert bpy.ops.idto3d.import_head(filepath=str(synthetic.write(WORK / "anna"))) == {"FINISHED"}
    head = bpy.context.object
    check_own_albedo(head)
    check_missing(head)
    idto3d_blender.unregister()
    blender_session.leave()


main()
