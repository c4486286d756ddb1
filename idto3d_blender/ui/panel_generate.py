# SPDX-License-Identifier: GPL-3.0-or-later
"""The box with which a head is asked for."""

from itertools import islice
from typing import Any

import bpy

from .. import thumbnails
from ..head import expressions
from ..head.bundle import photo_names
from ..jobs import session
from ..properties import PHOTOS_USED, settings
from . import panel_parts, progress_text

_VERDICTS = {"good": "CHECKMARK", "fair": "INFO", "poor": "ERROR"}


class IDTO3D_UL_photos(bpy.types.UIList):
    """Photos, each with how well it was understood; those beyond the first five are grey, as they are not used"""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active: Any, name: str, index: int = 0
    ) -> None:
        row = layout.row(align=True)
        row.active = index < PHOTOS_USED
        name = _name(data, index)
        fit = session.get().fits().get(item.path)
        # One of the two: with both, a sidebar of the usual width has no room for the name.
        if fit is None:
            row.label(text=name, icon_value=thumbnails.photo(item.path))
        else:
            row.label(text=name, icon=_VERDICTS[fit.verdict])
        row.operator("idto3d.remove_photo", text="", icon="X", emboss=False).index = index


class IDTO3D_PT_generate(panel_parts.SidebarPanel, bpy.types.Panel):
    """A head from photos"""

    bl_label = "Generate"
    bl_order = 1

    def draw(self, context: Any) -> None:
        layout, given = self.layout, settings()
        _draw_photos(layout, context, given)
        column = layout.column()
        column.enabled = bool(given.photos)
        column.prop(given, "consent")
        layout.row().prop(given, "quality", expand=True)
        header, body = layout.panel("idto3d_options", default_closed=True)
        header.label(text="Options")
        if body is not None:
            _draw_options(body, given)
        row = layout.row()
        row.scale_y = 1.6
        row.operator("idto3d.generate_from_list", icon="USER")


class IDTO3D_MT_photos(bpy.types.Menu):
    """More ways to fill and empty the list of photos"""

    bl_label = "Photos"

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.operator("idto3d.add_folder", text="Add Folder...", icon="FILE_FOLDER")
        layout.operator("idto3d.paste_photos", icon="PASTEDOWN")
        layout.separator()
        layout.operator("idto3d.clear_photos", icon="TRASH")


def _name(given: Any, number: int) -> str:
    """What the backend calls a photo: the ones before it tell."""
    return photo_names(photo.path for photo in islice(given.photos, number + 1))[number]


def _draw_photos(layout: Any, context: Any, given: Any) -> None:
    if given.photos:
        number = min(max(given.photo_index, 0), len(given.photos) - 1)
        shown = given.photos[number].path
        fit = session.get().fits().get(shown)
        row = layout.split(factor=0.24)
        row.template_icon(thumbnails.photo(str(fit.overlay or shown) if fit else shown), scale=3.0)
        row = row.row()
        row.template_list(
            "IDTO3D_UL_photos", "", given, "photos", given, "photo_index", rows=2, maxrows=PHOTOS_USED + 1
        )
        column = row.column(align=True)
        column.operator("idto3d.add_photos", text="", icon="ADD")
        column.menu("IDTO3D_MT_photos", text="", icon="DOWNARROW_HLT")
        if len(given.photos) > PHOTOS_USED:
            layout.label(text=f"The first {PHOTOS_USED} are used", icon="INFO")
        if fit is not None:
            column = layout.column(align=True)
            column.label(text=progress_text.verdict(fit), icon=_VERDICTS[fit.verdict])
            column.label(text=fit.reason[:1].upper() + fit.reason[1:] if fit.reason else progress_text.details(fit))
        return
    box = layout.box()
    panel_parts.text(
        box, context, "One photo, or up to five of the same person. Frontal and evenly lit ones work best."
    )
    row = box.row()
    row.scale_y = 1.4
    row.operator("idto3d.add_photos", text="Add Photos...", icon="IMAGE_DATA")
    row = box.row(align=True)
    row.operator("idto3d.add_folder", text="Folder...", icon="FILE_FOLDER")
    row.operator("idto3d.paste_photos", text="Paste", icon="PASTEDOWN")
    panel_parts.text(box, context, "Or drop photos on this viewport.")


def _draw_options(layout: Any, given: Any) -> None:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.prop(given, "seed")
    column.prop(given, "pack")
    if given.pack == "FOLDER":
        column.prop(given, "pack_folder", text="Folder")
    column.prop(given, "output", placeholder="As in the preferences")
    column.prop(given, "all_expressions")
    if not given.all_expressions:
        grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
        for index, name in enumerate(expressions.EXPRESSIONS):
            grid.prop(given, "expressions", index=index, text=expressions.label(name), toggle=True)


register, unregister = bpy.utils.register_classes_factory((IDTO3D_UL_photos, IDTO3D_MT_photos, IDTO3D_PT_generate))
