# SPDX-License-Identifier: GPL-3.0-or-later
"""The distillation block of a pack, and the cameras that it asks for."""

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from idto3d.distill.config import DistillationConfig
from idto3d.distill.views import View, draw_expression, gate, random_view, sample_views
from idto3d.errors import UserError
from idto3d.training.distillation import STARTER
from tests.known_prior import VIEWS

BLOCK = json.loads(json.dumps(STARTER.to_pack()))


def test_round_trip_through_json() -> None:
    assert DistillationConfig.from_pack(BLOCK) == STARTER
    assert STARTER.geometry.steps.of("draft") < STARTER.geometry.steps.of("fine")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("geometry", None),
        ("geometry.score.form", "x1"),
        ("geometry.score.t_max_start", 1.5),
        ("geometry.score.t_min", 0.9),
        ("geometry.trust", 0),
        ("geometry.trust", "wide"),
        ("geometry.trust", float("nan")),
        ("geometry.views", 2.5),
        ("geometry.views", True),
        ("geometry.more", 1),
        ("texture.steps", {"draft": 9, "standard": 8, "fine": 10}),
        ("texture.residual", 4),
        ("texture.lr", None),
        ("views.azimuth", [[0.5, -45, 45]]),
        ("views.azimuth", [[1.0, -45]]),
        ("views.target", [0, 0]),
        ("views.fov", [30, 16]),
        ("prompts.normal", "a {camera} view"),
        ("prompts.normal", "a {view view"),
        ("prompts.normal", "a {view.x} view"),
        ("prompts.normal", "a {view[x]} view"),
        ("geometry.trust", 10**400),
        ("views.jitter", -0.1),
        ("views.azimuth", [[1.5, -45, 45], [-0.5, 45, 180]]),
        ("views.fov", [30, 200]),
        ("views.azimuth", []),
        ("views.azimuth", [[1.0, 45, -45]]),
        ("views.close_frame", [0.3, 0.2]),
        ("texture.feather", 1e12),
        ("geometry.smoothing", -5),
        ("geometry.lr_neutral", -1),
    ],
)
def test_refusals(path: str, value: Any) -> None:
    block = copy.deepcopy(BLOCK)
    *parents, key = path.split(".")
    inner = block
    for parent in parents:
        inner = inner[parent]
    inner[key] = value
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        DistillationConfig.from_pack(block)
    if value is not None:
        return
    del inner[key]
    with pytest.raises(UserError, match=f"E_PACK_FORMAT.*{key}"):
        DistillationConfig.from_pack(block)


def test_views_are_those_of_the_block() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_view(rng, VIEWS) for _ in range(600)]
    azimuth = np.array([v.camera.azimuth for v in drawn])
    assert (np.abs(azimuth) <= 180).all()
    # half within 45, and what falls there of the third within 110
    assert np.mean(np.abs(azimuth) < 45) == pytest.approx(0.5 + 0.35 * 45 / 110, abs=0.06)
    close = np.array([v.close for v in drawn])
    assert close[np.abs(azimuth) < 80].mean() == pytest.approx(0.4, abs=0.07) and not close[np.abs(azimuth) > 80].any()
    heights = [2 * v.camera.distance * np.tan(np.radians(v.camera.fov) / 2) for v in drawn]
    assert 0.13 <= min(heights) and max(heights) <= 0.38
    assert gate(30, (45, 90)) == 1.0 and gate(-67.5, (45, 90)) == pytest.approx(0.5) and gate(180, (45, 90)) == 0.0


def test_views_go_where_they_are_needed() -> None:
    def behind(views: list[View]) -> np.ndarray:
        return np.array([float(abs(v.camera.azimuth) > 90) for v in views])

    rng = np.random.default_rng(1)
    shares = []
    for candidates in (1, 6):
        views = sample_views(rng, replace(VIEWS, candidates=candidates), 200, behind)
        shares.append(behind(views).mean())
    assert shares[0] < 0.35 and shares[1] > 0.6


def test_neutral_is_drawn_in_its_share() -> None:
    rng = np.random.default_rng(2)
    drawn = np.array([draw_expression(rng, 4, 0.4) for _ in range(800)])
    assert np.mean(drawn == 0) == pytest.approx(0.4, abs=0.05)
    assert set(drawn) == {0, 1, 2, 3} and draw_expression(rng, 1, 0.0) == 0
