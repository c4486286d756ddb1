# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user chooses for the next head.

Kept in the window manager and not in the scene: an undo does not take photos out of the list, a saved file does not
tell where on a disk a person's photos lie, and the list lasts when another file is opened (``keep``, ``restore``).
"""

from typing import Any

import bpy

from .head import expressions

PHOTOS_USED = 5
_kept: dict[str, Any] = {}


class IDTO3D_photo(bpy.types.PropertyGroup):
    """A photo in the list"""

    path: bpy.props.StringProperty(name="Path", subtype="FILE_PATH")  # type: ignore[valid-type]


class IDTO3D_settings(bpy.types.PropertyGroup):
    """Settings of the next head"""

    photos: bpy.props.CollectionProperty(type=IDTO3D_photo)  # type: ignore[valid-type]
    photo_index: bpy.props.IntProperty(name="Photo")  # type: ignore[valid-type]
    consent: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="The people in these photos agreed",
        description="Only make heads of people who agreed to it",
    )
    pack: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Pack",
        description="The trained networks that make the head",
        items=(
            ("STARTER", "Starter", "The small pack that comes with the extension"),
            ("FOLDER", "Folder", "A pack of your own"),
        ),
    )
    pack_folder: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Pack Folder", description="Folder that holds pack.json", subtype="DIR_PATH"
    )
    quality: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Quality",
        items=(
            ("draft", "Draft", "Quickest, to see whether the photos work"),
            ("standard", "Standard", "What most heads need"),
            ("fine", "Fine", "More steps and larger maps; takes longest"),
        ),
        default="standard",
    )
    all_expressions: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="All Expressions", description="Make a shape key for each expression of the pack", default=True
    )
    expressions: bpy.props.BoolVectorProperty(  # type: ignore[valid-type]
        name="Expressions",
        size=len(expressions.EXPRESSIONS),
        default=(True,) * len(expressions.EXPRESSIONS),
    )
    prompt: bpy.props.StringProperty(  # type: ignore[valid-type]
        # Not in the panel: with the starter pack words change no head visibly. Scripts may want it.
        name="Text",
        description="What the photos do not tell, such as: with freckles",
    )
    seed: bpy.props.IntProperty(  # type: ignore[valid-type]
        name="Seed", description="The same seed and photos give the same head", min=0
    )
    key_search: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Search",
        description="Show the keys that have these words in their name or group, such as: jaw, or smile left",
        options={"SKIP_SAVE", "TEXTEDIT_UPDATE"},
    )
    output: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Output",
        description="Folder in which each head gets a folder of its own. Empty: the one in the preferences",
        subtype="DIR_PATH",
    )


def settings() -> Any:
    """The settings, an IDTO3D_settings. Look them up each time: another file makes new ones."""
    return bpy.context.window_manager.idto3d


def chosen_expressions(given: Any) -> str:
    """As the protocol wants it: "all", or names with commas ("neutral" alone where none is ticked)."""
    if given.all_expressions:
        return "all"
    names = [name for name, on in zip(expressions.EXPRESSIONS, given.expressions, strict=True) if on]
    return ",".join(names) or expressions.NEUTRAL


_PLAIN = ("consent", "pack", "pack_folder", "quality", "all_expressions", "prompt", "seed", "output", "photo_index")


def keep() -> None:
    """Copy the settings: opening another file is about to drop them."""
    given = settings()
    _kept.update({name: getattr(given, name) for name in _PLAIN})
    _kept["expressions"] = tuple(given.expressions)
    _kept["photos"] = [photo.path for photo in given.photos]


def restore() -> None:
    """Bring back what ``keep`` copied."""
    if not _kept:
        return
    given = settings()
    for name in (*_PLAIN, "expressions"):
        setattr(given, name, _kept[name])
    given.photos.clear()
    for path in _kept["photos"]:
        given.photos.add().path = path
    _kept.clear()


def register() -> None:
    bpy.utils.register_class(IDTO3D_photo)
    bpy.utils.register_class(IDTO3D_settings)
    bpy.types.WindowManager.idto3d = bpy.props.PointerProperty(type=IDTO3D_settings, options={"SKIP_SAVE"})


def unregister() -> None:
    _kept.clear()
    del bpy.types.WindowManager.idto3d
    bpy.utils.unregister_class(IDTO3D_settings)
    bpy.utils.unregister_class(IDTO3D_photo)
