# SPDX-License-Identifier: GPL-3.0-or-later
"""Previews of a head in the making."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image

from idto3d import live, pipeline
from idto3d.bundle import to_blender_frame
from idto3d.clock import Clock
from idto3d.errors import Cancelled, UserError
from idto3d.finish import Head, assemble
from idto3d.live import MESH_SECONDS, PICTURE_SECONDS, SHARE, Live, vertex_colours
from idto3d.pipeline import GenerateConfig
from idto3d.preview_files import KEPT, PreviewFiles
from idto3d.prior.pack import read_pack
from tests.example_bundle import example
from tests.tiny_head import tiny_head_model

Event = dict[str, Any]


@pytest.fixture(scope="module")
def head() -> Head:
    model = tiny_head_model()
    return assemble(model, model.neutral.astype(np.float64), {}, np.zeros(len(model.neutral)), {}, None)


class Watch:
    """Time that only goes on when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_mesh_is_the_heads_own(head: Head, tmp_path: Path) -> None:
    events: list[Event] = []
    Live(tmp_path / "new" / "folder", events.append).show(lambda: head)
    assert [(e["type"], e["kind"]) for e in events] == [("preview", "mesh"), ("preview", "picture")]
    mesh = np.load(events[0]["path"])
    np.testing.assert_array_equal(mesh["faces"], head.quads)
    np.testing.assert_allclose(mesh["vertices"], to_blender_frame(head.vertices))
    assert mesh["vertices"].dtype == np.float32 and mesh["faces"].dtype == np.int32
    assert mesh["vertices"][:, 1].argmin() == head.vertices[:, 2].argmax()  # Z up, facing -Y
    np.testing.assert_array_equal(mesh["colours"], vertex_colours(head))
    with Image.open(events[1]["path"]) as picture:
        assert picture.size == (live.PICTURE_SIZE, live.PICTURE_SIZE)
        assert np.asarray(picture.convert("RGB"), float).std() > 10


def test_topology_stays_while_the_faces_do(head: Head, tmp_path: Path) -> None:
    events: list[Event] = []
    showing = Live(tmp_path, events.append)
    rows = np.arange(len(head.quads))[1:]
    fewer = {name: getattr(head, name)[rows] for name in ("quads", "quads_uv", "part", "material")}
    for current in (head, replace(head, vertices=head.vertices * 1.01), replace(head, **fewer)):
        showing.show(partial(replace, current), now=True)
    one, moved, other = (e["topology"] for e in events if e["kind"] == "mesh")
    assert one == moved != other


def test_each_kind_has_its_time(head: Head, tmp_path: Path) -> None:
    events: list[Event] = []
    watch = Watch()
    asked: list[float] = []

    def current() -> Head:
        asked.append(watch.now)
        return head

    showing = Live(tmp_path, events.append, watch)
    for at in (0.0, MESH_SECONDS - 0.1, MESH_SECONDS, PICTURE_SECONDS):
        watch.now = 100.0 + at
        showing.show(current)
    assert [e["kind"] for e in events] == ["mesh", "picture", "mesh", "mesh", "picture"]
    assert asked == [100.0, 100.0 + MESH_SECONDS, 100.0 + PICTURE_SECONDS]  # a head that is not shown is not made
    showing.show(current, now=True)
    assert len(events) == 7


def test_only_the_last_files_stay_and_no_name_comes_twice(head: Head, tmp_path: Path) -> None:
    events: list[Event] = []
    for _ in range(2):  # a second run in the same folder goes on counting
        showing = Live(tmp_path, events.append)
        for _ in range(KEPT):
            showing.show(lambda: head, now=True)
    for kind in ("mesh", "picture"):
        paths = [e["path"] for e in events if e["kind"] == kind]
        assert len(set(paths)) == len(paths) == 2 * KEPT
        assert {str(p) for p in tmp_path.glob(f"{kind}-*")} == set(paths[-KEPT:])
    assert len(list(tmp_path.iterdir())) == 2 * KEPT


def test_pictures_that_stay(tmp_path: Path) -> None:
    showing = Live(tmp_path / "new", lambda event: None)
    paths = [showing.keep_picture("fit", np.full((4, 6, 3), n, np.uint8)) for n in range(KEPT + 2)]
    assert len(set(paths)) == KEPT + 2
    for n, path in enumerate(paths):
        assert np.asarray(Image.open(path)).tolist() == np.full((4, 6, 3), n).tolist()


def test_a_folder_that_cannot_be_written_is_a_warning_once(head: Head, tmp_path: Path) -> None:
    events: list[Event] = []
    (tmp_path / "file").write_text("")
    showing = Live(tmp_path / "file" / "previews", events.append)
    for _ in range(2):
        showing.show(lambda: head, now=True)
    assert [(e["type"], e["code"]) for e in events] == [("warning", "W_PREVIEW")]


def test_a_photo_is_told_of_without_its_picture_where_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "overlay", lambda *_: np.zeros((4, 6, 3), np.uint8))
    monkeypatch.setattr(pipeline, "fit_event", lambda model, photo, path: {"overlay": path})
    events: list[Event] = []
    found = MagicMock()
    found.fitted.faces, found.fitted.fit.photos = [None], [MagicMock()]
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "file" / "previews"):
        pipeline.tell_fit(MagicMock(), found, events.append, Live(folder, events.append))
    assert events == [{"overlay": str(tmp_path / "fit-000001.png")}, {"overlay": None}]


@pytest.mark.parametrize(
    ("folder", "error", "told"),
    [("there", None, "sketch"), ("file/previews", None, "warning"), ("there", OSError(28, "full"), "warning")],
)
def test_a_sketch_that_cannot_be_written_does_not_end_the_job(
    folder: str, error: OSError | None, told: str, head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where its folder could not be written before, nor where it cannot just now."""
    monkeypatch.setattr(pipeline, "head_of", lambda *_, **__: head)
    monkeypatch.setattr(pipeline, "as_shipped", lambda whole, _: whole)
    monkeypatch.setattr(pipeline, "to_bundle", lambda *_: example())
    if error:
        monkeypatch.setattr("idto3d.bundle.write._write_files", MagicMock(side_effect=error))
    (tmp_path / "file").write_text("")
    events: list[Event] = []
    showing = Live(tmp_path / folder, events.append)
    showing.show(lambda: head, now=True)
    pipeline.keep_sketch(MagicMock(), {}, Clock(events.append), showing)
    assert [event["type"] for event in events if event["type"] not in ("preview", "poll")] == [told]


def test_a_cancelled_job_writes_no_sketch(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "head_of", lambda *_, **__: head)
    monkeypatch.setattr(pipeline, "as_shipped", lambda whole, _: whole)
    monkeypatch.setattr(pipeline, "to_bundle", lambda *_: example())

    def stop(event: Event) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        pipeline.keep_sketch(MagicMock(), {}, Clock(stop), Live(tmp_path, stop))
    assert not list(tmp_path.iterdir())


def test_slow_previews_become_rare(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    spent = 0.0

    def slow(self: PreviewFiles, *arguments: Any) -> Path:
        nonlocal spent
        spent += 1.0
        watch.now += 1.0
        return tmp_path / "nothing"

    monkeypatch.setattr(PreviewFiles, "_write", slow)
    showing = Live(tmp_path, lambda event: None, watch)
    began = watch.now
    while watch.now < began + 600:
        watch.now += 0.5
        showing.show(lambda: head)
    assert 0 < spent <= 1.1 * SHARE * 600


def test_vertices_take_the_colour_of_their_place() -> None:
    """A square on a map whose left half is red and right half blue, with a green row on top; a triangle elsewhere."""
    quads = np.array([[0, 1, 2, 3], [4, 5, 6, -1]])
    uv = np.array([[0.1, 0.5], [0.9, 0.4], [0.9, 0.99], [0.1, 0.99]])
    skin = np.zeros((8, 8, 5), np.float32)
    skin[:, :4, 0] = 1.0
    skin[:, 4:, 2] = 0.5
    skin[0, :, 1] = 1.0
    plain = np.full((4, 4, 5), 0.2, np.float32)
    head = Head(
        np.zeros((8, 3)), np.zeros((0, 8, 3)), (), quads, uv, np.array([[0, 1, 2, 3], [0, 1, 2, -1]]), np.zeros(2, int),
        ("face",), np.array([0, 1]), ("skin", "other"), {"skin": skin, "other": plain}, {}, np.zeros(8),
    )  # fmt: skip
    grey, nobody = [51, 51, 51], [128, 128, 128]
    wanted = [[255, 0, 0], [0, 0, 128], [0, 255, 128], [255, 255, 0], grey, grey, grey, nobody]
    assert vertex_colours(head).tolist() == wanted
    # Half clear, lashes are half of the skin's mean colour: (0.5, 0.125, 0.25).
    half = {"lashes": np.full((4, 4), 0.5, np.float32)}
    lashes = replace(head, materials=("skin", "lashes"), maps={"skin": skin, "lashes": plain}, alpha=half)
    assert vertex_colours(lashes)[4].tolist() == [89, 41, 57]


@pytest.mark.parametrize("refused", [False, True])
def test_a_small_head_is_looked_back_at_and_shown_before_its_detail(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where the look back refuses, nothing is shown and no detail read."""
    happened: list[str] = []

    def coloured(model: object, found: object, size: int) -> MagicMock:
        happened.append(f"size {size}")
        return MagicMock()

    def check(start: object, nets: object) -> None:
        happened.append("look back")
        if refused:
            raise UserError("E_FIT_LOOK_BACK", "no face", "another photo")

    live = MagicMock()
    live.show = lambda *_, **__: happened.append("shown")
    monkeypatch.setattr(pipeline, "coloured", coloured)
    monkeypatch.setattr(pipeline, "check_face", check)
    for name in ("load_head_model", "check_expressions", "find", "warn", "tell_fit"):
        monkeypatch.setattr(pipeline, name, MagicMock())
    config = GenerateConfig(expressions="neutral")
    with pytest.raises(UserError) if refused else nullcontext():
        pipeline.understand(MagicMock(), read_pack(config.pack), MagicMock(), config, Clock(lambda event: None), live)
    first = [f"size {pipeline.FIRST_SIZE}", "look back"]
    assert happened == (first if refused else [*first, "shown", f"size {config.working_size}", "shown"])
