# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the project consists of: pins, imports, README, manifest, and what goes into the zip."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

import build
import environments
import extension_package

ROOT = Path(build.__file__).resolve().parent


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, relative imports left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


# --- pins and keys


def test_pins_follow_other_files_and_leave_comments_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# words\n-r b.txt\nx==1  # why\n\n")
    (tmp_path / "b.txt").write_text("-c c.txt\ny==2\n")
    (tmp_path / "c.txt").write_text("z==3\n")
    assert environments.read_pins(tmp_path / "a.txt") == ["x==1", "y==2", "z==3"]
    assert environments.read_pins(tmp_path / "a.txt", ("-r ",)) == ["x==1", "y==2"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/requirements*.txt")) + [ROOT / "backend" / "constraints.txt"])
def test_every_requirement_is_pinned_exactly(path: Path) -> None:
    pins = environments.read_pins(path)
    assert pins
    names = [re.fullmatch(r"([A-Za-z0-9._-]+)==[0-9][0-9A-Za-z.]*", pin) for pin in pins]
    assert None not in names, [pin for pin, match in zip(pins, names, strict=True) if match is None]
    assert len({pin.split("==")[0].lower() for pin in pins}) == len(set(pins)), "two versions of one package"


def test_every_imported_package_is_pinned() -> None:
    names = {"cv2": "opencv-python", "PIL": "pillow", "skimage": "scikit-image"}
    optional = {"nvdiffrast"}  # used where the user has installed it, never shipped
    blender = {"bpy", "bmesh", "bpy_extras", "mathutils", "bl_ext", "addon_utils"}
    local = {"idto3d", "idto3d_blender", "idto3d_shared", "tests", "build", "environments"}
    imported: set[str] = set()
    for path in [*(ROOT / "backend").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        local.add(path.stem)
        imported |= imports(path)
    imported -= sys.stdlib_module_names | local | optional | blender
    pinned = {pin.split("==")[0].lower().replace("-", "_") for pin in environments.backend_environment().pins()}
    assert {names.get(name, name).lower().replace("-", "_") for name in imported} <= pinned


def test_installed_packages_are_the_pinned_ones() -> None:
    """The environment that runs this was made from these files, so everything in it has to stand in them."""
    if not (Path(sys.prefix) / "complete").exists():
        pytest.skip("not run by build.py's own environment")
    from importlib.metadata import distributions

    pins = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in environments.backend_environment().pins()}
    # A CUDA torch pins its own nvidia packages, and pip comes with the environment.
    found = {re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower() for each in distributions()}
    assert {name for name in found - pins if not name.startswith(("nvidia-", "cuda-"))} - {"pip", "triton"} == set()


# --- the files themselves


SHARED = [ROOT / "backend" / "idto3d_shared" / f"{name}.py" for name in ("errors", "renaming")]
"""The modules of their package that set-ups use."""


@pytest.mark.parametrize("path", [ROOT / "build.py", *SHARED, *(ROOT / "backend").glob("*.py")])
def test_standard_library_only(path: Path) -> None:
    ours = {path.stem for path in (ROOT / "backend").glob("*.py")} | {SHARED[0].parent.name}
    assert imports(path) <= sys.stdlib_module_names | ours
    assert set(re.findall(r"idto3d_shared\.(\w+)", path.read_text(encoding="utf-8"))) <= {path.stem for path in SHARED}


def test_commands_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"build\.py (\w+)", text))
    helped = subprocess.run([sys.executable, ROOT / "build.py", "--help"], capture_output=True, text=True, check=True)
    assert {"demo", "test", "generate"} <= named
    assert all(re.search(rf"^    {name}\s", helped.stdout, re.MULTILINE) for name in named), named
    options = set(re.findall(r"(?<!\S)\[?(--[a-z-]+)", text))
    usage = build.parser().parse_args(["generate", "p", "--out", "o"])
    assert {option[2:].replace("-", "_") for option in options} <= set(vars(usage))


def test_users_get_no_tools_for_developers() -> None:
    dev = set(environments.read_pins(ROOT / "backend" / "requirements-dev.txt", ("-r ",)))
    for device in ("cpu", "cuda"):
        asked = set(environments.user_environment(device).asked())
        assert asked and not asked & dev
    assert dev < set(environments.backend_environment().asked())


def test_what_is_packaged(tmp_path: Path) -> None:
    """Staged as for the zip, less what the manifest excludes: all that the set-up needs, and nothing of ours."""
    extension_package.stage_extension(tmp_path / "stage")
    manifest = tomllib.loads((tmp_path / "stage" / "blender_manifest.toml").read_text(encoding="utf-8"))
    excluded = manifest["build"]["paths_exclude_pattern"]
    files = {path.relative_to(tmp_path / "stage") for path in (tmp_path / "stage").rglob("*") if path.is_file()}
    names = {path.as_posix() for path in files if not any(fnmatch(path.name, each) for each in excluded)}
    assert {"__init__.py", "LICENSE", "backend/install.py", "backend/idto3d/__main__.py"} <= names
    for path in environments.user_environment("cpu").files() + environments.user_environment("cuda").files():
        assert f"backend/{path.name}" in names
    assert "backend/packs/starter/pack.json" in names
    # The guide, with all that it shows and names.
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8"))
    shown = {os.path.normpath(f"docs/{link}").replace(os.sep, "/") for link in links if "://" not in link}
    assert {"docs/user-guide.md", *shown} <= names and len(shown) > 5
    assert not [name for name in names if "test" in name or "requirements-dev" in name or "requirements-bpy" in name]


def test_manifest() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["blender_version_min"] == "4.2.0"
    assert set(manifest["permissions"]) == {"files", "network", "clipboard", "camera"}
    for reason in manifest["permissions"].values():
        assert len(reason) <= 64 and not reason.endswith("."), "Blender's validator refuses it"


def test_contents_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.py", "backend/b.py", "backend/idto3d/c.py", "backend/idto3d/deep/d.py"):
            archive.writestr(name, "x" * 10)
    lines = extension_package.contents(tmp_path / "a.zip").splitlines()
    assert [line.split()[2:] for line in lines[:-1]] == [["2", "files", "backend/idto3d"], ["1", "files", "backend"],
                                                         ["1", "files", "."]]  # fmt: skip


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert "build.py test" in script.read_text() and os.access(script, os.X_OK)
    assert shutil.which("bash") is None or subprocess.run(["bash", "-n", script]).returncode == 0
