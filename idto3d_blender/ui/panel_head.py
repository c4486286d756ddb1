# SPDX-License-Identifier: GPL-3.0-or-later
"""The boxes for a finished head: expressions, animation, light, asset."""

from typing import Any

import bpy

from .. import properties
from ..head import blend_materials, expressions, life_size, poses, rig, rig_keys, separate
from ..head.import_head import JOB, is_head
from ..jobs import driver, session
from ..match.scene import is_posed
from ..studio import light_rigs, own_collection, viewport_colours
from . import panel_parts

_POSE = 110.0  # pixels that a pose's name takes
_LATER = "This head is being made; its sliders come soon"


class IDTO3D_PT_head(panel_parts.SidebarPanel, bpy.types.Panel):
    """The selected head"""

    bl_label = "Head"
    bl_order = 3

    def draw(self, context: Any) -> None:
        layout = self.layout
        if not is_head(context.object):
            if rig.head_of(context.object) is not None:
                layout.operator("idto3d.select_head", icon="USER")
            elif separate.is_part(context.object):
                layout.operator("idto3d.whole_head", icon="OBJECT_DATA")
            else:
                made = context.object is not None and JOB in context.object
                panel_parts.text(layout, context, _LATER if made else "Select a head to pose it", "INFO")
            layout.operator("idto3d.choose_head", text="Import Finished Head...", icon="IMPORT")
            return
        row = layout.row(align=True)
        row.label(text=context.object.name, icon="USER")
        row.operator("idto3d.rename_head", text="", icon="GREASEPENCIL")
        shading = getattr(context.space_data, "shading", None)
        if shading is not None:
            shown = viewport_colours.shows_pictures(shading)
            row.operator("idto3d.show_colours", text="Colours", icon="SHADING_TEXTURE", depress=shown)
        row.operator("idto3d.look_at", text="", icon="ZOOM_SELECTED")
        job, ended = context.object.get(JOB, ""), session.get().ended
        if job and not driver.alive(job) and (ended is None or ended.id != job):  # whose box has these buttons
            layout.label(text="Stopped, not finished", icon="PAUSE")
            layout.operator("idto3d.resume_job", icon="PLAY").job = job
            layout.operator("idto3d.use_sketch", icon="CHECKMARK").job = job
        if life_size.factor(context.scene, context.object) != 1.0:
            tall = life_size.told(context.scene, context.object)
            panel_parts.text(layout, context, f"{tall} tall here, as if from a file of another unit", "ERROR")
            layout.operator("idto3d.life_size", icon="EMPTY_SINGLE_ARROW")
        if blend_materials.strange(context.object):
            panel_parts.text(layout, context, "A copy: its wrinkles follow another head's sliders", "ERROR")
            layout.operator("idto3d.own_materials", icon="MATERIAL")


class IDTO3D_PT_expressions(panel_parts.HeadBox, bpy.types.Panel):
    """A slider for each expression"""

    bl_label = "Expressions"
    bl_order = 0

    def draw(self, context: Any) -> None:
        layout = self.layout
        blocks = context.object.data.shape_keys.key_blocks
        hidden = {key.name for key in blocks[1:] if rig_keys.is_twin(key.name) or is_posed(key)}
        given = [key.name for key in blocks[1:] if key.name not in hidden]
        words = properties.settings().key_search
        # Above the pictures: below them, a window's height lies between a pose and its reset.
        row = layout.row(align=True)
        row.operator("idto3d.reset_expressions", icon="LOOP_BACK")
        row.operator("idto3d.mirror_keys", text="Mirrored Keys", icon="MOD_MIRROR")
        layout.prop(properties.settings(), "key_search", text="", icon="VIEWZOOM", placeholder="Search")
        if words.strip():
            names = expressions.found(given, words)
            _sliders(layout, blocks, names)
            if not names:
                layout.label(text="No key has this in its name", icon="INFO")
        else:
            pictured = _pictures(layout, context, context.object)
            for title, names in expressions.grouped(given).items():
                header, body = layout.panel(f"IDTO3D_keys_{title}", default_closed=pictured or title != expressions.OWN)
                active = sum(blocks[name].value != 0 for name in names)
                header.label(text=f"{title} ({active} of {len(names)} in use)" if active else title)
                if body is not None:
                    _sliders(body, blocks, names)


def _sliders(layout: Any, blocks: Any, names: list[str]) -> None:
    column = layout.column(align=True)
    for name in names:
        column.prop(blocks[name], "value", text=expressions.label(name), slider=True)


def _pictures(layout: Any, context: Any, obj: Any) -> bool:
    """The head's own expressions to click on, where it brought their pictures: it says whether it did."""
    names = poses.pictured(obj)
    if not names:
        return False
    header, body = layout.panel("IDTO3D_poses", default_closed=False)
    header.label(text="Poses")
    if body is None:
        return True
    # As many as have room for their names.
    width = context.region.width / context.preferences.system.ui_scale if context.region else 0.0
    grid = body.grid_flow(
        row_major=True, columns=max(2, int(width / _POSE)), even_columns=True, even_rows=True, align=False
    )
    for name in names:
        cell = grid.column(align=True)
        cell.template_icon(icon_value=poses.icon(obj, name), scale=4.0)
        cell.operator("idto3d.pose", text=expressions.label(name)).name = name
    return True


class IDTO3D_PT_scene(panel_parts.HeadBox, bpy.types.Panel):
    """Move it, light it, film it"""

    bl_label = "Animation and Light"
    bl_order = 1

    def draw(self, context: Any) -> None:
        layout = self.layout
        row = layout.row(align=True)
        row.operator("idto3d.test_animation", icon="PLAY")
        row.operator("idto3d.clear_animation", text="", icon="X")
        # A row each: side by side, their names are cut off in a sidebar of the usual width.
        row = layout.row(align=True)
        row.operator("idto3d.turntable", icon="CAMERA_DATA")
        row.operator("idto3d.remove_turntable", text="", icon="X")
        row = layout.row(align=True)
        row.label(icon="LIGHT")
        for name in light_rigs.RIGS:
            row.operator("idto3d.light_rig", text=name.capitalize()).rig = name
        last = row.row(align=True)
        last.enabled = own_collection.is_there(context.scene, light_rigs.KIND)
        last.operator("idto3d.remove_lights", text="", icon="X")
        # What most decides whether skin looks as in the photo, and hidden among a render's settings.
        row = layout.split(factor=0.45)
        row.label(text="View Transform")
        row.prop(context.scene.view_settings, "view_transform", text="")


class IDTO3D_PT_use(panel_parts.HeadBox, bpy.types.Panel):
    """File it, bring in another"""

    bl_label = "Asset and Import"
    bl_order = 7
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.operator("idto3d.mark_asset", icon="ASSET_MANAGER")
        layout.operator("idto3d.choose_head", text="Import Finished Head...", icon="IMPORT")


register, unregister = bpy.utils.register_classes_factory(
    (IDTO3D_PT_head, IDTO3D_PT_expressions, IDTO3D_PT_scene, IDTO3D_PT_use)
)
