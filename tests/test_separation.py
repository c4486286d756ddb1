# SPDX-License-Identifier: GPL-3.0-or-later
"""The two sides stay apart: the backend never needs Blender, and the extension needs nothing but Blender's Python."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BACKEND = sorted((ROOT / "backend").rglob("*.py"))
SHARED = sorted((ROOT / "backend" / "idto3d_shared").rglob("*.py"))
EXTENSION = sorted((ROOT / "idto3d_blender").rglob("*.py"))


def imports(source: str) -> Iterator[tuple[str, int]]:
    """(top-level module or "", relative level) of each import, also those inside functions or by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0], node.level
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            name = node.args[0]
            yield (str(name.value).split(".")[0] if isinstance(name, ast.Constant) else "?"), 0


def test_imports_finds_every_form() -> None:
    source = "import a.b\nfrom c.d import e\nfrom . import f\ndef g():\n import h\n importlib.import_module('i.j')\n"
    assert set(imports(source)) == {("a", 0), ("c", 0), ("", 1), ("h", 0), ("i", 0)}


@pytest.mark.parametrize("file", BACKEND, ids=lambda file: str(file.relative_to(ROOT)))
def test_backend_does_not_know_blender(file: Path) -> None:
    used = {name for name, level in imports(file.read_text(encoding="utf-8")) if level == 0}
    assert not used & {"bpy", "bmesh", "mathutils", "idto3d_blender"}


@pytest.mark.parametrize("file", EXTENSION, ids=lambda file: file.name)
def test_extension_uses_only_blenders_python(file: Path) -> None:
    allowed = {"bpy", "bpy_extras", "bmesh", "gpu", "gpu_extras", "mathutils", "numpy"} | set(sys.stdlib_module_names)
    # For the type checker; it is loaded as a part of the extension.
    allowed |= {"idto3d_shared"} if file.name in ("bundle.py", "table.py") else set()
    # Builds of Blender that write USD may bring it; asked for only there.
    allowed |= {"pxr"} if file.name == "write.py" else set()
    inside = range(1, len(file.relative_to(ROOT).parts))
    for name, level in imports(file.read_text(encoding="utf-8")):
        assert level in inside or (level == 0 and name in allowed), f"{file.name} imports {'.' * level}{name}"


@pytest.mark.parametrize("file", sorted((ROOT / "idto3d_blender" / "head").glob("*.py")), ids=lambda file: file.name)
def test_heads_need_nothing_inside_the_export(file: Path) -> None:
    assert ("export", 1) not in set(imports(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", SHARED, ids=lambda file: file.name)
def test_what_is_shared_needs_neither_side(file: Path) -> None:
    allowed = {"numpy"} | set(sys.stdlib_module_names)
    for name, level in imports(file.read_text(encoding="utf-8")):
        assert level == 1 or (level == 0 and name in allowed), f"{file.name} imports {'.' * level}{name}"


def test_extension_imports_without_bpy() -> None:
    code = "import sys; sys.modules['bpy'] = None; import idto3d_blender, idto3d_blender.head.bundle"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_manifest_follows_the_schema() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["schema_version"] == "1.0.0" and manifest["id"] == "idto3d" and manifest["type"] == "add-on"
    assert manifest["blender_version_min"] == "4.2.0" and manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert set(manifest["permissions"]) == {"files", "network", "clipboard", "camera"}
    for text in (manifest["tagline"], *manifest["permissions"].values()):
        assert 0 < len(text) <= 64 and text[-1].isalnum()
