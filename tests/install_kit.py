# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages made by the tests, as wheels in a folder and as an index on disk, and who looks on at a set-up."""

import base64
import contextlib
import hashlib
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from child_process import Watch
from environments import Environment, Size


def make_wheel(folder: Path, name: str, version: str = "1.0", needs: tuple[str, ...] = (), tag: str = "any") -> Path:
    """A pure-Python wheel that pip accepts."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {each}" for each in needs]
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-{tag}\n",
    }
    record = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text)}")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{version}-py3-none-{tag}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return file


def make_index(folder: Path, wheels: Path) -> str:
    """The same wheels as a package index that pip reads from the disk. Returns its URL."""
    links: dict[str, str] = {}
    for wheel in wheels.glob("*.whl"):
        name = wheel.name.split("-")[0].replace("_", "-")
        links[name] = links.get(name, "") + f'<a href="{wheel.as_uri()}">{wheel.name}</a>'
    for name, anchors in links.items():
        page = folder / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"<!DOCTYPE html><html><body>{anchors}</body></html>")
    return folder.as_uri()


@contextlib.contextmanager
def served(folder: Path, wheels: Path) -> Iterator[tuple[str, list[str]]]:
    """The same as an index on the network, one that does not tell what packages need: its host, and what it is asked
    for."""
    for wheel in wheels.glob("*.whl"):
        own = folder / wheel.name.split("-")[0]
        own.mkdir(parents=True)
        shutil.copy(wheel, own)
    asked: list[str] = []

    class Index(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Cache-Control", "max-age=1000" if self.path.endswith(".whl") else "no-cache")
            super().end_headers()

        def log_message(self, form: str, *values: Any) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


def use_index(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """pip knows this index and no other."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", url)


def environment_of(folder: Path, pins: str = "tinyhead==1.0\ntorchlet==1.0\n", check: str = "import tinyhead, torchlet"
                   ) -> Environment:  # fmt: skip
    requirements = folder / "requirements.txt"
    requirements.write_text(pins)
    return Environment("tiny", (requirements,), check, Size(1_000_000, 2_000_000))


class Seen:
    """A Watch that remembers, and stops when told to."""

    def __init__(self, stop: Callable[[str], bool] = lambda stage: False) -> None:
        self.stages: list[str] = []
        self.lines: list[str] = []
        self.stop = stop
        self.warned: list[str] = []
        self.watch = Watch(self.report, self.lines.append, lambda code, message: self.warned.append(code))

    def report(self, stage: str, step: int, steps: int) -> None:
        assert 0 <= step <= max(steps, 0)
        self.stages += [stage] if stage not in self.stages else []
        if self.stop(stage):
            self.watch.cancelled.set()
