# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos into the list, from wherever they are, and out of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from .. import photo_list
from ..jobs import driver, session
from ..polls import ExplainedPoll
from ..properties import PHOTOS_USED, settings


def _tell(operator: Any, counted: tuple[int, int], nothing: str) -> set[str]:
    added, strange = counted
    if strange:
        operator.report({"WARNING"}, f"Left out: {strange}, whose names or folders Blender cannot show. Rename them")
    elif not added:
        operator.report({"WARNING"}, nothing)
    if not added:
        return {"CANCELLED"}
    session.get().warm_up()
    driver.ensure()
    # A drop on the viewport does not draw the sidebar beside it.
    driver.redraw()
    count = len(settings().photos)
    more = f"; the first {PHOTOS_USED} are used" if count > PHOTOS_USED else ""
    operator.report({"INFO"}, f"{added} photo{'s' if added > 1 else ''} added{more}")
    return {"FINISHED"}


def _why_no_photos() -> Iterator[str]:
    if not settings().photos:
        yield "The list is empty"


class IDTO3D_OT_add_photos(bpy.types.Operator):
    """Add photos of the person. Frontal, evenly lit ones work best; all must show the same person"""

    bl_idname = "idto3d.add_photos"
    bl_label = "Add Photos"
    bl_options = {"INTERNAL"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})  # type: ignore[valid-type]
    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})  # type: ignore[valid-type]
    files: bpy.props.CollectionProperty(  # type: ignore[valid-type]
        type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"}
    )
    filter_glob: bpy.props.StringProperty(default=photo_list.FILTER, options={"HIDDEN"})  # type: ignore[valid-type]
    # Heard by the file browser: people are chosen by their faces, not by names of files. The number is Blender's own.
    display_type: bpy.props.EnumProperty(  # type: ignore[valid-type]
        items=(("THUMBNAIL", "Thumbnails", "", 3),), default="THUMBNAIL", options={"HIDDEN", "SKIP_SAVE"}
    )

    def invoke(self, context: Any, event: Any) -> set[str]:
        # Dropped files come with their names; otherwise ask for them.
        if self.files:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> set[str]:
        folder = Path(bpy.path.abspath(self.directory)) if self.directory else Path()
        paths = [folder / file.name for file in self.files if file.name]
        if not paths and self.filepath:
            paths = [Path(bpy.path.abspath(self.filepath))]
        added = photo_list.add(path for path in paths if path.is_file())
        return _tell(self, added, "No new photo was chosen")


class IDTO3D_OT_add_folder(bpy.types.Operator):
    """Add all photos that lie in a folder"""

    bl_idname = "idto3d.add_folder"
    bl_label = "Add Folder"
    bl_options = {"INTERNAL"}

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})  # type: ignore[valid-type]
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})  # type: ignore[valid-type]

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> set[str]:
        try:
            photos = photo_list.in_folder(Path(bpy.path.abspath(self.directory)))
        except OSError as error:
            self.report({"ERROR"}, f"The folder cannot be read: {error.strerror}")
            return {"CANCELLED"}
        return _tell(self, photo_list.add(photos), "There is no new photo in this folder")


class IDTO3D_OT_paste_photos(bpy.types.Operator):
    """Add the photos whose paths are on the clipboard, as copied in a file manager"""

    bl_idname = "idto3d.paste_photos"
    bl_label = "Paste Photo Paths"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        photos = photo_list.in_text(context.window_manager.clipboard)
        return _tell(self, photo_list.add(photos), "The clipboard names no new photo")


class IDTO3D_OT_remove_photo(ExplainedPoll, bpy.types.Operator):
    """Take a photo out of the list; the file stays"""

    bl_idname = "idto3d.remove_photo"
    bl_label = "Remove Photo"
    bl_options = {"INTERNAL"}

    index: bpy.props.IntProperty(default=-1, options={"SKIP_SAVE"})  # type: ignore[valid-type]

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        return _why_no_photos()

    def execute(self, context: Any) -> set[str]:
        given = settings()
        index = self.index if self.index >= 0 else given.photo_index
        if not 0 <= index < len(given.photos):
            return {"CANCELLED"}
        given.photos.remove(index)
        shown = given.photo_index - (index < given.photo_index)
        given.photo_index = max(0, min(shown, len(given.photos) - 1))
        return {"FINISHED"}


class IDTO3D_OT_clear_photos(ExplainedPoll, bpy.types.Operator):
    """Take all photos out of the list; the files stay"""

    bl_idname = "idto3d.clear_photos"
    bl_label = "Clear Photos"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        return _why_no_photos()

    def execute(self, context: Any) -> set[str]:
        settings().photos.clear()
        settings().photo_index = 0
        settings().consent = False
        return {"FINISHED"}


class IDTO3D_FH_photos(bpy.types.FileHandler):
    """Photos dropped on a 3D viewport whose sidebar shows our tab; any other viewport keeps its reference images"""

    bl_idname = "IDTO3D_FH_photos"
    # The name in the menu that Blender shows when a photo is dropped.
    bl_label = "Add Photos to ID-to-3D"
    bl_import_operator = IDTO3D_OT_add_photos.bl_idname
    bl_file_extensions = ";".join(photo_list.ENDINGS)

    @classmethod
    def poll_drop(cls, context: Any) -> bool:
        area = context.area
        if area is None or area.type != "VIEW_3D" or not area.spaces.active.show_region_ui:
            return False
        sidebar = next((region for region in area.regions if region.type == "UI"), None)
        return getattr(sidebar, "active_panel_category", "") == "ID-to-3D"


_CLASSES = (
    IDTO3D_OT_add_photos,
    IDTO3D_OT_add_folder,
    IDTO3D_OT_paste_photos,
    IDTO3D_OT_remove_photo,
    IDTO3D_OT_clear_photos,
    IDTO3D_FH_photos,
)
register, unregister = bpy.utils.register_classes_factory(_CLASSES)
