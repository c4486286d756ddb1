# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy, with HOME in a scratch folder: the set-up from within the installed extension.

``python check_setup.py ZIP WORK`` prints one JSON line; any failed assertion ends it.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import bpy

ZIP, WORK = Path(sys.argv[-2]), Path(sys.argv[-1])
MODULE = "bl_ext.user_default.idto3d"


def installed_files(folder: Path) -> dict[str, int]:
    # Blender itself compiles the add-on's modules there.
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.parent != folder)
    return {str(path): path.stat().st_mtime_ns for path in files}


bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.extensions.package_install_files(filepath=str(ZIP), repo="user_default", enable_on_install=True, overwrite=True)
setup_backend: Any = importlib.import_module(f"{MODULE}.jobs.setup_backend")
extension = Path(setup_backend.__file__).parents[1]
assert setup_backend.BACKEND == extension / "backend"
before = installed_files(extension)

user = setup_backend.user_folder(MODULE)
assert user.is_dir() and extension not in user.parents and extension != user
assert setup_backend.status(user).state == "missing"
began = time.perf_counter()
assert setup_backend.plan(user, device="cpu") is None
assert time.perf_counter() - began < 0.5
plan = setup_backend.plan(user, device="cpu", wait=True)
assert any(str(user) in line for line in plan.lines), plan
assert plan.problem is None or plan.problem.code == "E_DISK_SPACE", plan

# Blender's own Python runs install.py; without network and packages it refuses, with nothing left behind.
(WORK / "empty").mkdir(parents=True)
for wheels, code in (("", "E_NETWORK"), (str(WORK / "empty"), "E_WHEELS_MISSING")):
    snapshot = setup_backend.start(user, device="cpu", wheels=wheels, online=False).wait(0.02)
    assert snapshot.state == "failed" and snapshot.error.code == code, snapshot
    assert user in snapshot.log.parents
# The version of that Python is one that the pins work with.
(venv,) = [line for line in plan.lines if line.startswith("With ")]
assert sys.executable in venv
assert installed_files(extension) == before, "something was written into the extension's folder"
end = json.dumps({"result": "ok", "blender": bpy.app.version_string, "user_folder": str(user), "plan": plan.lines})
print(end, flush=True)
# Without the wheel's static destructors, see blender_session.leave.
os._exit(0)
