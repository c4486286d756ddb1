# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy, with HOME in a scratch folder: install the extension's zip and use it.

``python check_extension.py ZIP WORK`` with the repository in PYTHONPATH; prints one JSON line; any failed
assertion ends it.
"""

import importlib
import json
import os
import sys
from pathlib import Path

import bpy

from tests.blender import synthetic_bundle as synthetic

ZIP, WORK = Path(sys.argv[-2]), Path(sys.argv[-1])
MODULE = "bl_ext.user_default.idto3d"

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.extensions.package_install_files(filepath=str(ZIP), repo="user_default", enable_on_install=True, overwrite=True)
assert MODULE in bpy.context.preferences.addons
importlib.import_module(MODULE)
assert "idto3d_blender" not in sys.modules
for folder in (synthetic.write(WORK / "head"), synthetic.write_format_1(WORK / "old")):
    assert bpy.ops.idto3d.import_head(filepath=str(folder)) == {"FINISHED"}
    assert len(bpy.context.object.data.shape_keys.key_blocks) == 4
bpy.ops.preferences.addon_disable(module=MODULE)
assert "IDTO3D_PT_head" not in dir(bpy.types)
print(json.dumps({"result": "ok", "blender": bpy.app.version_string}), flush=True)
# Without the wheel's static destructors, see blender_session.leave.
os._exit(0)
