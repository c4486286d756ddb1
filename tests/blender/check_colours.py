# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: heads in a studio's own colour configuration, where no space is called as Blender's.

``python check_colours.py WORK`` as check_import.py.
"""

import os
import sys
from pathlib import Path

WORK = Path(sys.argv[-1])
_CONFIGURATION = """ocio_profile_version: 2
roles: {scene_linear: ACEScg, default: ACEScg, default_byte: sRGB - Texture, default_float: ACEScg, data: Raw,
  aces_interchange: ACES2065-1}
file_rules:
  - !<Rule> {name: Default, colorspace: ACEScg}
displays:
  sRGB - Display:
    - !<View> {name: Un-tone-mapped, colorspace: sRGB - Texture}
colorspaces:
  - !<ColorSpace> {name: ACES2065-1}
  - !<ColorSpace> {name: ACEScg, to_scene_reference: !<BuiltinTransform> {style: ACEScg_to_ACES2065-1}}
  - !<ColorSpace> {name: sRGB - Texture, to_scene_reference: !<ExponentTransform> {value: [2.2, 2.2, 2.2, 1]}}
  - !<ColorSpace> {name: Raw, isdata: true}
"""
WORK.mkdir(parents=True, exist_ok=True)
(WORK / "studio.ocio").write_text(_CONFIGURATION)
os.environ["OCIO"] = str(WORK / "studio.ocio")  # Blender reads it once, as it begins

import bpy  # noqa: E402

import idto3d_blender  # noqa: E402
from idto3d_blender.head import headless  # noqa: E402
from idto3d_blender.head.prepare import prepare  # noqa: E402
from tests.blender import blender_session  # noqa: E402
from tests.blender import synthetic_bundle as synthetic  # noqa: E402


def check_spaces() -> None:
    there = bpy.data.images.new("", 1, 1).colorspace_settings.bl_rna.properties["name"].enum_items.keys()
    assert "Raw" in there and "sRGB" not in there, f"Blender's own configuration is in use: {there}"
    folder = synthetic.write(WORK / "anna")
    synthetic.add_wrinkles(folder)
    assert bpy.ops.idto3d.import_head(filepath=str(folder)) == {"FINISHED"}
    spaces = {image.name: image.colorspace_settings.name for image in bpy.data.images if image.packed_file is not None}
    assert len(spaces) > 3, spaces
    for name, space in spaces.items():
        assert space == ("sRGB - Texture" if "_albedo" in name else "Raw"), spaces


def check_portraits() -> None:
    """No view is called Standard."""
    headless.build_scene(prepare(WORK / "anna"))


idto3d_blender.register()
check_spaces()
check_portraits()
idto3d_blender.unregister()
blender_session.leave()
