# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy, with HOME in a scratch folder: install from a repository on the network, and update.

``python check_repository.py ADDRESS SERVED NEXT`` prints one JSON line; any failed assertion ends it. ADDRESS is where
the folder SERVED is to be had, a repository as `build.py package` leaves it; NEXT is one with a newer version, which
takes its place half-way, and in which `parts` has ADDED_BY_THE_UPDATE.
"""

import importlib
import json
import os
import re
import shutil
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import bpy

ADDRESS, SERVED, NEXT = sys.argv[-3], Path(sys.argv[-2]), Path(sys.argv[-1])
MODULE = "bl_ext.studio.idto3d"


def installed_version() -> str:
    """What Blender lists, read from the manifest in the folder of the repository."""
    manifest = Path(repository.directory) / "idto3d" / "blender_manifest.toml"
    (version,) = re.findall(r'^version = "(.*)"$', manifest.read_text(encoding="utf-8"), re.MULTILINE)
    assert str(importlib.import_module(MODULE).__file__).startswith(repository.directory)
    return str(version)


def offered_version() -> str:
    """What Blender knows of the remote side after a sync."""
    listing = json.loads((Path(repository.directory) / ".blender_ext" / "index.json").read_text(encoding="utf-8"))
    (item,) = listing["data"]
    return str(item["version"])


bpy.ops.wm.read_factory_settings(use_empty=True)
preferences: Any = bpy.context.preferences
preferences.system.use_online_access = True
assert bpy.app.online_access
repository: Any = preferences.extensions.repos.new(name="Studio", module="studio", remote_url=f"{ADDRESS}/index.json")
index = list(preferences.extensions.repos).index(repository)

assert bpy.ops.extensions.repo_sync(repo_index=index) == {"FINISHED"}
first = offered_version()
bpy.ops.extensions.package_install(repo_index=index, pkg_id="idto3d", enable_on_install=True)
assert MODULE in preferences.addons and installed_version() == first
assert hasattr(bpy.types, "IDTO3D_PT_setup")

for file in SERVED.iterdir():
    file.unlink()
shutil.copytree(NEXT, SERVED, dirs_exist_ok=True)
assert bpy.ops.extensions.repo_sync(repo_index=index) == {"FINISHED"}
newer = offered_version()
assert newer != first and installed_version() == first, "offered, not yet taken"
bpy.ops.extensions.package_upgrade_all()
assert installed_version() == newer
assert MODULE in preferences.addons and hasattr(bpy.types, "IDTO3D_PT_setup"), "the update is switched on again"
assert importlib.import_module(f"{MODULE}.head.parts").ADDED_BY_THE_UPDATE, "and Blender runs the new code"

# What Blender makes of the link that is dragged from the page into its window.
(link,) = re.findall(r'href="(.*?)"', (SERVED / "index.html").read_text(encoding="utf-8"))
dropped = urllib.parse.urljoin(f"{ADDRESS}/index.html", link)
utils: Any = importlib.import_module("bl_pkg.bl_extension_utils")
address, values = utils.url_parse_for_blender(dropped)
assert address == f"{ADDRESS}/idto3d-{newer}.zip", address
assert values == {"repository": f"{ADDRESS}/index.json", "blender_version_min": "4.2.0"}, values
print(json.dumps({"result": "ok", "blender": bpy.app.version_string, "versions": [first, newer]}), flush=True)
# Without the wheel's static destructors, see blender_session.leave.
os._exit(0)
