# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulers: what they must ignore (pose, scale), what they must see, and what the table makes of it."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from idto3d.errors import UserError
from idto3d.evaluate.bundle_picture import GROUND, Part, render
from idto3d.evaluate.command import main
from idto3d.evaluate.metrics import apart, colour_difference, facing, fifths, overlap, surface_error, turn_between
from idto3d.evaluate.prompts import picture_change, print_changes
from idto3d.evaluate.real import evaluate_real, read_people, real_rows, score
from idto3d.evaluate.recogniser import load_recogniser
from idto3d.evaluate.summary import synthetic_rows
from idto3d.evaluate.table import Row, print_table
from idto3d.evaluate.truth import SEEN, Truth, skin_apart, skin_errors, under_hair
from idto3d.fit.camera import PhotoCamera
from idto3d.headmodel import HeadModel
from idto3d.mesh.attach import ProximityQuery
from idto3d.photos import read_photo
from idto3d.training.photographs import Photograph
from idto3d.training.regions import Regions, Skin, orbit
from tests.test_photos_load import HEIC


def _bumpy(seed: int, height: float) -> tuple[np.ndarray, np.ndarray]:
    """A 20 cm sheet with smooth bumps, metres."""
    n = 30
    x, y = np.meshgrid(np.linspace(-0.1, 0.1, n), np.linspace(-0.1, 0.1, n))
    phase = np.random.default_rng(seed).random(4) * 6
    z = 0.02 * np.cos(20 * x) * np.cos(17 * y) + height * np.sin(60 * x + phase[0]) * np.sin(50 * y + phase[1])
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = (k.reshape(-1) for k in (i[:-1, :-1], i[:-1, 1:], i[1:, 1:], i[1:, :-1]))
    return np.stack([x, y, z], -1).reshape(-1, 3), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def _moved(points: np.ndarray) -> np.ndarray:
    c, s = np.cos(0.05), np.sin(0.05)
    return 1.03 * points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + [0.002, -0.001, 0.003]


def test_surface_error_ignores_pose_and_scale() -> None:
    vertices, faces = _bumpy(0, 0.0)
    assert surface_error(_moved(vertices[::3]), ProximityQuery(vertices, faces)) < 0.3


def test_surface_error_sees_shape_in_millimetres() -> None:
    flat, faces = _bumpy(0, 0.0)
    bumpy, _ = _bumpy(1, 0.003)
    error = surface_error(bumpy[::3], ProximityQuery(flat, faces))
    assert 0.5 < error < 1.5  # mean of 3 mm |sin sin| is 1.2 mm; the normal distance is a little less


def test_apart_ignores_pose_and_counts_millimetres() -> None:
    points, _ = _bumpy(0, 0.0)
    assert apart(_moved(points), points) == pytest.approx(0.0, abs=1e-6)
    shaken = points + np.where(np.arange(len(points)) % 2, 0.001, -0.001)[:, None] * [0.0, 0.0, 1.0]
    assert apart(shaken, points) == pytest.approx(1.0, abs=0.02)


def test_colour_difference_is_ciede2000() -> None:
    """Greys of L* 100, 0 and 50: Sharma et al.'s S_L divides by 1 + 0.015 (L - 50)^2 / sqrt(20 + (L - 50)^2)."""
    white, black = np.ones((1, 3)), np.zeros((1, 3))
    assert colour_difference(white, black)[0] == pytest.approx(100.0, abs=0.1)  # the mean L* is 50: S_L is 1
    light, dark = np.full((1, 3), 1.0), np.full((1, 3), 0.9)
    lightness = 116 * ((0.9 + 0.055) / 1.055) ** 0.8 - 16
    mean = (100 + lightness) / 2 - 50
    wanted = (100 - lightness) / (1 + 0.015 * mean**2 / np.sqrt(20 + mean**2))
    assert colour_difference(light, dark)[0] == pytest.approx(wanted, rel=1e-2)


def test_overlap_and_turns_and_fifths() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert overlap(a, b) == pytest.approx(1 / 3)
    assert overlap(a & ~a, b & ~b) == 1.0
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    assert turn_between(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.eye(3)) == pytest.approx(20)
    # 1 m before the origin, looking straight on; a point 1 m above the origin is seen 45 degrees up
    camera = PhotoCamera(np.eye(3), np.zeros(3), 1.0, np.zeros(2), 1.0)
    up = facing(camera, np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(up @ [0, 1, -1], [0, 0, -np.sqrt(2)], atol=1e-9)
    assert turn_between(up, camera.rotation) == pytest.approx(45)
    order = np.array([9, 1, 2, 3, 4, 5, 6, 7, 8, 0])
    assert fifths(order, order * 10.0) == [5, 25, 45, 65, 85]
    assert fifths(np.array([2, 1]), np.array([20.0, 10.0])) == [10, 20]


def _skin(colour: list[float], seen: list[float], region: list[str], cheek: list[float]) -> Skin:
    return Skin(np.repeat(np.array(colour)[:, None], 3, 1), np.array(seen), np.array(region), np.array(cheek))


def test_skin_under_hair_is_no_skin_that_one_sees(starter: HeadModel) -> None:
    """Of a head looked at from the front, with hair over the upper half of the picture."""
    model, regions, side = starter, Regions(starter), 128
    hair = np.zeros((side, side), np.float32)
    hair[: side // 2] = 1
    setting: Any = None
    photograph = Photograph(np.zeros((side, side, 3), np.uint8), orbit(0.0, side), model.neutral, setting, hair)
    hidden = under_hair(regions, [photograph], 64)
    fields = np.c_[model.neutral, model.vertices_of("face")]
    places = np.concatenate([regions.texels(m, 64).at(fields) for m in model.materials if m.evidence])
    marks = model.landmarks(model.neutral)
    near = [np.linalg.norm(places[:, :3] - marks[n], axis=1) < 0.008 for n in (10, 152)]  # forehead, chin
    forehead, chin = (hidden[rows & (places[:, 3] > 0.99)].mean() for rows in near)
    behind = places[:, 2] < marks[10, 2] - 0.12
    assert forehead > 0.95 and chin == 0 and hidden[behind].mean() < 0.02
    assert not under_hair(regions, [photograph, replace(photograph, hair=0 * hair)], 64).any(), "another shows it all"


def test_skin_errors_keep_places_apart() -> None:
    """Five texels: seen face, seen cheek, unseen neck, scalp, and one under clothes, which nothing may count."""
    region = ["face", "face", "neck", "crown_back", "neck"]
    true = _skin([0.5] * 5, [0] * 5, region, [0, 1, 0, 0, 0])
    truth = Truth(None, None, true, np.array([1, 1, 1, 1, 0], bool), {})  # type: ignore[arg-type]
    own = _skin([0.5, 0.6, 0.8, 0.2, 0.0], [1, SEEN, 0, 0, 0], region, [0, 1, 0, 0, 0])
    each = colour_difference(own.colour, true.colour)
    found = skin_errors(truth, own)
    assert found["seen"] == pytest.approx(each[:2].mean())
    assert found["unseen"] == found["unseen neck"] == pytest.approx(each[2])
    assert found["unseen crown_back"] == pytest.approx(each[3])
    assert found["cheek"] == pytest.approx(each[1])
    assert found["cheek_lightness_off"] > 0
    assert skin_apart(own, own) == 0.0


def test_exposure_is_told_apart_from_colour() -> None:
    grey = np.linspace(0.2, 0.6, 30)
    true = _skin(list(grey), [0] * 30, ["face"] * 30, [1] * 30)
    linear = ((grey + 0.055) / 1.055) ** 2.4 * 1.5
    own = _skin(list(1.055 * linear ** (1 / 2.4) - 0.055), [1] * 30, ["face"] * 30, [1] * 30)
    truth = Truth(None, None, true, np.ones(30, bool), {})  # type: ignore[arg-type]
    found = skin_errors(truth, own)
    assert found["seen"] > 3 and found["seen_even"] < 0.05


def test_rows_pass_fail_and_say_what_was_not_measured() -> None:
    assert [Row("a", v, 6, 4).verdict for v in (3.9, 5.0, 6.1, None, float("nan"))] == [
        "goal", "pass", "FAIL", "not measured", "not measured",
    ]  # fmt: skip
    lines = print_table([Row("short", 1.23456, 2, None, "mm", "a note"), Row("a longer name", None, 0, 0)]).split("\n")
    assert lines[0].split() == ["verdict", "measure", "value", "at", "most", "goal", "note"]
    assert lines[1].split() == ["pass", "short", "1.23", "mm", "2", "a", "note"]
    assert lines[2].startswith("not measured  a longer name  -")
    assert lines[1].index("1.23") == lines[2].index("-  ")


def _head(surface: float, mean: float, pose: float, skin: dict[str, float], iou: float | None) -> dict[str, Any]:
    return {
        "surface_mm": surface, "mean_head_mm": mean, "pose_error": pose, "hair_iou": iou, "crossings": 0,
        "true_crossings": 0, "skin": {"cheek": 2.0, "cheek_lightness": 50.0, **skin},
    }  # fmt: skip


def test_summary_counts_wrong_and_refused() -> None:
    def person(one: dict[str, Any], three: dict[str, Any]) -> dict[str, Any]:
        return {"one": one, "three": three, "smile": {"apart_mm": 0.4, "albedo_de": 2.0}}

    good = _head(0.5, 1.0, 3.0, {"seen": 4.0, "unseen": 10.0, "cheek_lightness": 30.0}, 0.5)
    people = [
        person(good, _head(0.4, 1.0, 0.0, {"seen": 3.0}, 0.5)),
        person(
            _head(1.1, 1.0, 3.0, {"seen": 6.0, "cheek": 6.0, "cheek_lightness": 70.0}, 0.5), {"refused": "E_NO_FACE"}
        ),
        person(_head(0.5, 1.0, 16.0, {"seen": 5.0}, None), {"refused": "E_NO_FACE"}),
        person({"refused": "E_FIT_RESIDUAL"}, {"refused": "E_FIT_RESIDUAL"}),
    ]
    people[0]["distilled x1"] = _head(0.5, 1.0, 0.0, {"seen": 4.0, "unseen": 7.0}, 0.75)
    rows = {row.name: row for row in synthetic_rows(people)}
    assert rows["photos wrong and not refused"].value == 2
    assert rows["photos refused"].value == pytest.approx(0.25)
    assert rows["face surface / mean head's, one photo"].value == pytest.approx(0.7)
    assert rows["surface, three photos / one"].value == pytest.approx(0.8)
    assert rows["seen skin, light to +-90 degrees"].value == pytest.approx(5.0)
    assert rows["distilled x1: unseen skin dE, after / before"].value == pytest.approx(0.7)
    assert rows["distilled x1: hair outline 1 - IoU, after / before"].value == pytest.approx(0.5)
    tone = next(row for name, row in rows.items() if name.startswith("skin tone"))
    assert tone.value == pytest.approx(3.0)


def test_a_summary_of_nobody_measures_nothing() -> None:
    assert {row.verdict for row in synthetic_rows([])} == {"not measured"}


def test_score_ranks_within_the_gallery() -> None:
    gallery = {"a": np.array([0.0, 0.0]), "b": np.array([1.0, 0.0]), "c": np.array([9.0, 0.0])}
    found = score(0, {"a": np.array([0.1, 0.0]), "b": np.array([0.45, 0.0]), "c": None}, gallery)
    assert found.distances == {"a": pytest.approx(0.1), "b": pytest.approx(0.55), "c": None}
    assert (found.accepted, found.first) == (2, 1)  # b is accepted, but nearer to a
    assert found.mean == pytest.approx(0.325)
    rows = {row.name: row.value for row in real_rows([found, found, found])}
    assert rows["ruler, yaw 0: people not accepted"] == pytest.approx(1 / 3)
    assert rows["ruler, yaw +-30: not the nearest of all"] == 2


def test_without_the_second_recogniser_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = importlib.util.find_spec
    monkeypatch.setattr("idto3d.evaluate.recogniser.find_spec", lambda name: None if name == "dlib" else here("json"))
    with pytest.raises(UserError, match="dlib") as caught:
        load_recogniser()
    assert caught.value.code == "E_EVALUATE_RULER" and "pip install dlib-bin" in caught.value.fix
    with pytest.raises(SystemExit) as stopped:
        main(["--real", "people.json", "heads"])
    assert stopped.value.code == 1 and "E_EVALUATE_RULER" in capsys.readouterr().err


def test_people_are_read_beside_their_file(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    file.write_text(json.dumps({"ada": ["a.jpg", "deep/b.jpg"]}))
    assert read_people(file) == {"ada": [tmp_path / "a.jpg", tmp_path / "deep/b.jpg"]}
    for text in ("[1]", '{"ada": "a.jpg"}', '{"ada": [1]}'):
        file.write_text(text)
        with pytest.raises(UserError, match="E_EVALUATE_PEOPLE"):
            read_people(file)


def test_a_photo_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idto3d.evaluate.real.load_recogniser", MagicMock)
    file = tmp_path / "people.json"
    file.write_text(json.dumps({"ada": ["a.jpg", "b.jpg"]}))
    with pytest.raises(UserError, match=r"E_EVALUATE_PEOPLE.*b\.jpg"):
        evaluate_real(file, tmp_path)


def test_photos_are_read_as_those_that_heads_are_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.jpg").write_bytes(HEIC)
    recogniser = MagicMock()
    recogniser.embed.return_value = None
    monkeypatch.setattr("idto3d.evaluate.real.load_recogniser", lambda: recogniser)
    file = tmp_path / "people.json"
    file.write_text(json.dumps({"ada": ["a.jpg", "b.jpg"]}))
    evaluate_real(file, tmp_path)
    (image,) = recogniser.embed.call_args.args
    assert image.shape == read_photo(tmp_path / "b.jpg").image.shape


def test_the_reports_place_is_made_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("idto3d.evaluate.command._synthetic", lambda given: {"seen": 1})
    report = tmp_path / "reports" / "r.json"
    assert main(["--out", str(report)]) == 0 and json.loads(report.read_text()) == {"seen": 1}
    monkeypatch.setattr("idto3d.evaluate.command._synthetic", lambda given: pytest.fail("measures first"))
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(report / "r.json")])
    assert stopped.value.code == 1 and "E_OUT_NOT_WRITABLE" in capsys.readouterr().err


def test_the_judge_sees_the_nearest_surface_turned() -> None:
    """Two squares, red before blue: from the front red, from behind blue, beside them the ground."""

    def square(z: float, colour: list[float]) -> Part:
        corners = np.array([[-0.05, -0.05, z], [0.05, -0.05, z], [0.05, 0.05, z], [-0.05, 0.05, z]])
        triangles = np.array([[0, 1, 2], [0, 2, 3]])
        return Part(corners, triangles, np.zeros((2, 3, 2)), np.full((2, 2, 3), colour), np.ones((2, 2)))

    parts = [square(0.05, [0.5, 0.0, 0.0]), square(-0.05, [0.0, 0.0, 0.5])]
    front, behind = render(parts, 0, 60), render(parts, 180, 60)
    assert front[30, 30, 0] > 100 and front[30, 30, 2] == 0
    assert behind[30, 30, 2] > 50 and behind[30, 30, 0] == 0
    ground = int((1.055 * GROUND ** (1 / 2.4) - 0.055) * 255)
    assert (front[2, 2] == ground).all()


def test_prompts_count_what_changed() -> None:
    a = np.zeros((4, 4, 3))
    a[:2] = 0.5
    b = a.copy()
    b[0] = 0.6
    half = colour_difference(np.full((1, 3), 0.5), np.full((1, 3), 0.6))[0] / 2
    assert picture_change(a, b) == pytest.approx(half)
    assert picture_change(a, a) == 0.0
    assert print_changes({"bald": [1.0, 9.0]}).endswith("visible on 1 of 2")
