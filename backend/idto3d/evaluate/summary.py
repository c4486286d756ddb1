# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of people to the rows of what was promised."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .metrics import fifths
from .table import Row

WRONG_POSE = 15.0  # degrees from which on a pose is wrong

Figures = dict[str, Any]


def synthetic_rows(people: list[Figures]) -> list[Row]:
    """Every row of known truth; figures as `synthetic.evaluate_people` gives them."""
    one, three = ([p[name] for p in people if "surface_mm" in p[name]] for name in ("one", "three"))
    both = [p for p in people if "surface_mm" in p["one"] and "surface_mm" in p["three"]]
    pairs = [p["smile"] for p in people if "apart_mm" in p["smile"]]
    wrong = [f for f in one if f["surface_mm"] > f["mean_head_mm"] or f["pose_error"] > WRONG_POSE]
    codes = [p["one"]["refused"] for p in people if "refused" in p["one"]]
    crossed = [f["crossings"] for f in one]
    rows = [
        Row("face surface / mean head's, one photo", _ratio(one), 0.6, 0.3, note=_millimetres(one)),
        Row("face surface / mean head's, three photos", _ratio(three), 0.6, 0.3, note=_millimetres(three)),
        Row("surface, three photos / one", _quotient(both, lambda f: f["surface_mm"]), 1.0),
        Row("seen skin, three photos / one", _quotient(both, lambda f: f["skin"].get("seen")), 1.0),
        Row("seen skin, light to +-90 degrees", _mean(f["skin"].get("seen") for f in one), 6, 4, "dE", _even(one)),
        Row("smiling and neutral photo: heads apart", _mean(f["apart_mm"] for f in pairs), 0.5, None, "mm"),
        Row("smiling and neutral photo: seen skin", _mean(f["albedo_de"] for f in pairs), 3, None, "dE"),
        _tone(one),
        Row("photos wrong and not refused", len(wrong) if people else None, 0, 0, note=f"of {len(people)}"),
        Row("photos refused", len(codes) / len(people) if people else None, 0.02, 0, note=", ".join(codes)),
        Row("self-intersections in neutral skin", max(crossed, default=None), 0, 0, "pairs", _truths(one)),
    ]
    for name in sorted({key for p in people for key in p if key.startswith(("distilled", "prior"))}):
        done = [(p["one"], p[name]) for p in people if name in p]
        unseen = [(a["skin"].get("unseen"), b["skin"].get("unseen")) for a, b in done]
        hair = [(_missed(a["hair_iou"]), _missed(b["hair_iou"])) for a, b in done]
        rows += [
            Row(f"{name}: unseen skin dE, after / before", _pairs(unseen), 0.9, 0.6, note=_regions(done)),
            Row(f"{name}: hair outline 1 - IoU, after / before", _pairs(hair), 0.9, 0.6),
            Row(f"{name}: seen skin dE", _mean(b["skin"].get("seen") for _, b in done), 6, 4, "dE"),
            Row(f"{name}: face surface / mean head's", _ratio([b for _, b in done]), 0.6, 0.3),
        ]
    return rows


def stage_lines(people: list[Figures]) -> list[str]:
    """Mean seconds of each stage."""
    lines = []
    for name in sorted({key for p in people for key in p if isinstance(p[key], dict) and "seconds" in p[key]}):
        all_stages = [p[name]["seconds"] for p in people if "seconds" in p.get(name, {})]
        for stage in dict.fromkeys(stage for stages in all_stages for stage in stages):
            seconds = np.mean([stages.get(stage, 0.0) for stages in all_stages])
            lines.append(f"{name:14s} {stage:28s} {seconds:7.2f} s")
    return lines


def _tone(one: list[Figures]) -> Row:
    """Cheeks: the darkest against the palest fifth of the people."""
    name = "skin tone: dE of the cheek, darkest and palest fifth, worse / better"
    if len(one) < 2:
        return Row(name, None, 2, 1)
    parts = fifths(np.array([f["skin"]["cheek_lightness"] for f in one]), np.array([f["skin"]["cheek"] for f in one]))
    ends = sorted((parts[0], parts[-1]))
    told = ", ".join(f"{part:.1f}" for part in parts)
    return Row(name, ends[1] / max(ends[0], 1e-6), 2, 1, note=f"darkest to palest: {told}")


def _ratio(heads: list[Figures]) -> float | None:
    return (
        float(np.mean([f["surface_mm"] for f in heads]) / np.mean([f["mean_head_mm"] for f in heads]))
        if heads
        else None
    )


def _millimetres(heads: list[Figures]) -> str:
    if not heads:
        return ""
    own, mean = (np.mean([f[name] for f in heads]) for name in ("surface_mm", "mean_head_mm"))
    return f"{own:.2f} of {mean:.2f} mm"


def _quotient(both: list[Figures], value: Callable[[Figures], float | None]) -> float | None:
    return _pairs([(value(p["one"]), value(p["three"])) for p in both])


def _pairs(pairs: list[tuple[float | None, float | None]]) -> float | None:
    """Mean of the second over mean of the first, where both are known."""
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    before = sum(a for a, _ in known)
    return sum(b for _, b in known) / before if before else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _even(one: list[Figures]) -> str:
    value = _mean(f["skin"].get("seen_even") for f in one)
    return "" if value is None else f"{value:.1f} with the best exposure of each"


def _truths(one: list[Figures]) -> str:
    return f"the true heads have {max(f['true_crossings'] for f in one)}" if one else ""


def _missed(iou: float | None) -> float | None:
    return None if iou is None else 1 - iou


def _regions(done: list[tuple[Figures, Figures]]) -> str:
    parts = []
    for region in ("face", "neck", "crown_back"):
        value = _pairs([(a["skin"].get(f"unseen {region}"), b["skin"].get(f"unseen {region}")) for a, b in done])
        if value is not None:
            parts.append(f"{region} {value:.2f}")
    return ", ".join(parts)
