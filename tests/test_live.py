# SPDX-License-Identifier: GPL-3.0-or-later
"""Previews of a head in the making, and the albedo that an expression has for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from idto3d import live
from idto3d.bundle import to_blender_frame
from idto3d.distill.geometry_stage import GeometryVariables, Sculpture
from idto3d.generate import STARTER_PACK
from idto3d.head.finish import Atlas
from idto3d.head.geometry_net import GeometryNet
from idto3d.head.own_albedo import own_albedo, visible
from idto3d.head.uv import rasterize_uv
from idto3d.live import FACES, KEPT, MESH_SECONDS, SHARE, Live, light_mesh, texture_places, vertex_colours

Event = dict[str, Any]


@pytest.fixture(scope="module")
def sculpture() -> Sculpture:
    net = GeometryNet.load(STARTER_PACK / "geometry.safetensors")
    style = torch.zeros(len(net.hair_sdf))
    style[0] = 1.0
    return Sculpture(
        net, GeometryVariables(net, torch.zeros(net.config.modes)), torch.eye(net.config.modes), style, smoothing=30.0
    )


class Watch:
    """Time that only goes on when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_light_mesh_follows_the_sculpture(sculpture: Sculpture, tmp_path: Path) -> None:
    events: list[Event] = []
    watch = Watch()
    showing = Live(tmp_path / "new" / "folder", events.append, watch)
    showing.sculpt(sculpture)
    with torch.no_grad():
        sculpture.variables.coefficients[0] += 3.0
    showing.sculpt(sculpture)  # not yet
    assert [e["kind"] for e in events] == ["mesh", "picture"]
    watch.now += MESH_SECONDS
    showing.sculpt(sculpture)
    with torch.no_grad():
        sculpture.variables.coefficients[0] -= 3.0
    assert [e["kind"] for e in events] == ["mesh", "picture", "mesh"]
    before, after = np.load(events[0]["path"]), np.load(events[2]["path"])
    assert events[0]["topology"] == events[2]["topology"]
    np.testing.assert_array_equal(before["faces"], after["faces"])
    assert 10_000 <= len(before["faces"]) <= FACES
    assert before["faces"].max() == len(before["vertices"]) - 1
    moved = np.linalg.norm(after["vertices"] - before["vertices"], axis=1)
    assert 0.0005 < moved.max() < 0.05
    neutral = sculpture.net.control + sculpture.identity_motion().detach()
    skin = to_blender_frame(neutral.numpy())
    # in the bundle's frame, Z up, facing -Y: the tip of the nose is where the skin's is
    tip, true_tip = (points[points[:, 1].argmin()] for points in (before["vertices"], skin))
    np.testing.assert_allclose(tip, true_tip, atol=0.003)
    assert Image.open(events[1]["path"]).size == (live.PICTURE_SIZE, live.PICTURE_SIZE)


def test_another_head_is_another_topology(sculpture: Sculpture) -> None:
    style = torch.zeros(len(sculpture.net.hair_sdf))
    style[-1] = 1.0
    hairy = Sculpture(sculpture.net, sculpture.variables, sculpture.precision, style, smoothing=30.0)
    assert light_mesh(sculpture).topology == light_mesh(sculpture).topology != light_mesh(hairy).topology


def test_only_the_last_files_stay_and_no_name_comes_twice(sculpture: Sculpture, tmp_path: Path) -> None:
    events: list[Event] = []
    for _ in range(2):  # a second run in the same folder goes on counting
        showing = Live(tmp_path, events.append)
        for _ in range(KEPT):
            showing.sculpt(sculpture, now=True)
    for kind in ("mesh", "picture"):
        paths = [e["path"] for e in events if e["kind"] == kind]
        assert len(set(paths)) == len(paths) == 2 * KEPT
        assert {str(p) for p in tmp_path.glob(f"{kind}-*")} == set(paths[-KEPT:])
    assert len(list(tmp_path.iterdir())) == 2 * KEPT


def test_a_folder_that_cannot_be_written_is_a_warning_once(sculpture: Sculpture, tmp_path: Path) -> None:
    events: list[Event] = []
    (tmp_path / "file").write_text("")
    showing = Live(tmp_path / "file" / "previews", events.append)
    for _ in range(2):
        showing.sculpt(sculpture, now=True)
    assert [(e["type"], e["code"]) for e in events] == [("warning", "W_PREVIEW")]


def test_slow_previews_become_rare(sculpture: Sculpture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    write = Live._write

    def slow(self: Live, *arguments: Any) -> Path:
        watch.now += 1.0
        return write(self, *arguments)

    monkeypatch.setattr(Live, "_write", slow)
    showing = Live(tmp_path, lambda event: None, watch)
    showing.sculpt(sculpture)  # the first one is free
    began, spent = watch.now, showing.seconds
    while watch.now < began + 600:
        watch.now += 0.5
        showing.sculpt(sculpture)
    assert 0 < showing.seconds - spent <= 1.1 * SHARE * 600


def test_vertices_take_the_colour_of_their_place() -> None:
    """A square of two faces, its left half red and its right half blue."""
    vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uv = vertices[:, :2].numpy()
    maps = torch.zeros(8, 8, 5)
    maps[:, :4, 0] = 1.0
    maps[:, 4:, 2] = 0.5
    maps[0, :, 1] = 1.0  # the top row, v = 1
    points = torch.tensor([[0.1, 0.5, 0.2], [0.9, 0.4, -0.1], [0.2, 1.0, 0.0]])
    colours = vertex_colours(maps, texture_places(vertices, faces, uv, faces.numpy(), points))
    assert colours.tolist() == [[255, 0, 0], [0, 0, 128], [255, 255, 0]]


@pytest.fixture()
def square() -> tuple[Atlas, Tensor]:
    """A unit square over the whole map, 128 texels wide, of a grid of faces."""
    x, y = np.meshgrid(np.linspace(0, 1, 17), np.linspace(0, 1, 17))
    uv = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
    a = (np.arange(16)[:, None] * 17 + np.arange(16)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 18], 1), np.stack([a, a + 18, a + 17], 1)])
    return Atlas(uv, faces, *rasterize_uv(uv, faces, 128)), torch.from_numpy(faces)


def test_an_expression_that_flushes_gets_its_own_albedo(square: tuple[Atlas, Tensor]) -> None:
    atlas, faces = square
    albedo = torch.full((128, 128, 3), 0.5)
    change = torch.zeros(len(atlas.uv), 3)
    here = torch.from_numpy((np.abs(atlas.uv - [0.25, 0.75]) < 0.1).all(1))
    change[here, 0] = 0.8  # redder at the upper left
    image = own_albedo(atlas, faces, albedo, change)
    assert image is not None and image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert image[16, 16].tolist() == pytest.approx([255 / (1 + np.exp(-0.8)), 128, 128], abs=1)
    assert image[48, 48].tolist() == [128, 128, 128]


def test_an_expression_that_looks_like_neutral_gets_none(square: tuple[Atlas, Tensor]) -> None:
    atlas, faces = square
    albedo = torch.full((128, 128, 3), 0.5)
    assert own_albedo(atlas, faces, albedo, torch.zeros(len(atlas.uv), 3)) is None
    assert own_albedo(atlas, faces, albedo, torch.full((len(atlas.uv), 3), 0.02)) is None  # 1.3 / 255
    dark = torch.full((128, 128, 3), 0.005)
    assert own_albedo(atlas, faces, dark, torch.full((len(atlas.uv), 3), 0.1)) is None  # a large logit, but black
    assert own_albedo(atlas, faces, albedo, torch.full((len(atlas.uv), 3), 0.04)) is not None  # 2.5 / 255


def test_a_change_must_fill_a_region() -> None:
    index = torch.arange(256 * 256)
    change = torch.zeros(256, 256)
    change[100, 100] = 0.2  # one texel
    assert not visible(change.reshape(-1), index, 256)
    change[96:104, 96:104] = 0.01
    assert visible(change.reshape(-1), index, 256)
