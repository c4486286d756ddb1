# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: what makes a thinner head anew, and what does not. ``python check_full_state.py WORK``
as check_import.py."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import full_state, mesh_data
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic

WORK = Path(sys.argv[-1])


def check_followed() -> None:
    """A thinner head is made anew once the full one was changed, whatever of it; the one before stays."""
    full = bpy.context.object
    group, own = full.vertex_groups.new(name="own"), bpy.data.materials.new("steel")
    skin = full.data.materials[0].node_tree
    crease = next(node for node in skin.nodes if node.type == "BSDF_PRINCIPLED")
    number = skin.nodes.new("ShaderNodeValue")
    changes: dict[str, Callable[[], Any]] = {
        "an emptied slot": lambda: full.data.materials.__setitem__(1, None),
        "another material": lambda: full.data.materials.__setitem__(1, own),
        "a value of the skin's": lambda: setattr(crease.inputs["Sheen Weight"], "default_value", 0.5),
        "a value in a node of its own": lambda: setattr(number.outputs[0], "default_value", 0.3),
        "a link": lambda: skin.links.remove(crease.inputs["Normal"].links[0]),
        "faces of another material": lambda: full.data.polygons.foreach_set(
            "material_index", np.where(np.arange(len(full.data.polygons)) < 9, 1, mesh_data.slots(full.data))
        ),
        "UV": lambda: full.data.attributes[mesh_data.uv_layer(full.data).name].data.foreach_set(
            "vector", (0.5 * mesh_data.uv_of(full.data)).ravel()
        ),
        "weights": lambda: group.add(list(range(50)), 0.5, "REPLACE"),
        "a mask": lambda: setattr(full.data.shape_keys.key_blocks["smile"], "vertex_group", "own"),
        "a modifier": lambda: full.modifiers.new("Smooth", "SUBSURF"),
        "its strength": lambda: setattr(full.modifiers["Smooth"], "levels", 2),
        "a node's setting": lambda: setattr(skin.nodes["albedo"], "interpolation", "Closest"),
        "a node's colours": lambda: setattr(skin.nodes["albedo"].color_mapping, "brightness", 0.5),
        "a muted node": lambda: setattr(skin.nodes["albedo"], "mute", True),
    }
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    for what, change in changes.items():
        assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
        change()
        for again in (False, True):
            assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
            made = bpy.context.object
            assert (made == half) == again, (what, again)
            assert half.hide_get() != again and half.data is not None, what
            half = made
            assert again or bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    assert half.data.materials[1] == own and half.modifiers["Smooth"].levels == 2
    assert half.data.shape_keys.key_blocks["smile"].vertex_group == "own" and mesh_data.uv_of(half.data).max() <= 0.5
    node = next(node for node in half.data.materials[0].node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    assert node.inputs["Sheen Weight"].default_value == 0.5 and not node.inputs["Normal"].is_linked
    check_looked_at(full, half)
    check_kept(full, half)


def check_looked_at(full: Any, half: Any) -> None:
    """How a window shows a modifier, a material and its nodes is no change, nor is another Blender."""
    modifier, material = full.modifiers["Smooth"], full.data.materials[0]
    for name in [one.identifier for one in modifier.bl_rna.properties if one.identifier.startswith("open_")]:
        setattr(modifier, name, not getattr(modifier, name))
    modifier.show_expanded = modifier.show_only_control_edges = False
    material.use_fake_user, material.use_preview_world, material.paint_active_slot = True, True, 1
    for node in material.node_tree.nodes:
        node.location, node.label, node.select, node.hide = (5.0, 5.0), "mine", True, True
    for noted in (half[full_state.NOTED], "3.1 of another Blender", "of a state before the versions"):
        half[full_state.NOTED] = noted
        for density in ("FULL", "HALF"):
            assert bpy.ops.idto3d.change_density(density=density) == {"FINISHED"}
        assert bpy.context.object == half, noted
    material.use_fake_user = False


def check_kept(full: Any, half: Any) -> None:
    """Ranges and mutes go along both ways; work on a thinner head, a new name and a saved file make no new one."""
    there, kept = full.data.shape_keys.key_blocks["smile"], half.data.shape_keys.key_blocks["smile"]
    kept.mute, kept.slider_max = True, 2.0
    half.data.materials[0] = bpy.data.materials.new("my own")
    half.modifiers.new("Mine", "SOLIDIFY")
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    assert there.mute and there.slider_max == 2.0
    there.mute, there.slider_min, there.value = False, -1.0, -0.5
    assert bpy.ops.idto3d.rename_head(name="Kim") == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(WORK / "kept.blend"))
    for density in ("HALF", "FULL", "HALF"):
        assert bpy.ops.idto3d.change_density(density=density) == {"FINISHED"}
    half = bpy.context.object
    key = half.data.shape_keys.key_blocks["smile"]
    assert half.modifiers.keys()[-1] == "Mine" and half.data.materials[0].name == "my own", half.name
    assert not key.mute and (key.slider_min, key.slider_max, key.value) == (-1.0, 2.0, -0.5)


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    assert bpy.ops.idto3d.import_head(filepath=str(synthetic.write(WORK / "anna", rows=24, columns=48))) == {"FINISHED"}
    check_followed()
    idto3d_blender.unregister()
    blender_session.leave()


main()
