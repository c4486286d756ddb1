# SPDX-License-Identifier: GPL-3.0-or-later
"""The static repository of `build.py package`, served on this machine: Blender installs from it, and updates."""

import functools
import hashlib
import http.server
import json
import shutil
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from extension_package import fill_repository, stage_extension
from tests.blender.bpy_process import HERE, ROOT, blender_ext, run

VERSION = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))["version"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *values: object) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """An empty folder and the address where it is to be had."""
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def release(bpy_python: str, stage: Path, version: str, repository: Path) -> None:
    """A repository with one version, made by the calls that `build.py package` makes, without the weights."""
    stage_extension(stage)
    shutil.rmtree(stage / "backend" / "packs")
    manifest = stage / "blender_manifest.toml"
    old = f'version = "{VERSION}"'
    assert old in manifest.read_text(encoding="utf-8")
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace(old, f'version = "{version}"', 1), encoding="utf-8"
    )
    if version != VERSION:
        with (stage / "head" / "parts.py").open("a", encoding="utf-8") as module:
            module.write("\nADDED_BY_THE_UPDATE = True\n")
    fill_repository(stage, repository, functools.partial(blender_ext, bpy_python))


def test_install_and_update_from_the_repository(bpy_python: str, tmp_path: Path, served: tuple[Path, str]) -> None:
    folder, address = served
    release(bpy_python, tmp_path / "old", VERSION, tmp_path / "first")
    release(bpy_python, tmp_path / "new", "99.0.0", tmp_path / "next")
    shutil.copytree(tmp_path / "first", folder, dirs_exist_ok=True)
    (item,) = json.loads((folder / "index.json").read_text(encoding="utf-8"))["data"]
    archive = (folder / item["archive_url"]).read_bytes()
    assert item["archive_size"] == len(archive)
    assert item["archive_hash"] == f"sha256:{hashlib.sha256(archive).hexdigest()}"
    arguments = [str(HERE / "check_repository.py"), address, str(folder), str(tmp_path / "next")]
    line = run(bpy_python, arguments, tmp_path / "home")[-1]
    assert line["result"] == "ok" and line["versions"] == [VERSION, "99.0.0"]
