# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a synthetic picture: who, from where, doing what, in which domain."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..expressions import EXPRESSIONS
from ..prior.prompts import VIEWS, fill_prompt, mirror_text
from .distillation import STARTER

PictureDomain = Literal["photo", "normal", "albedo"]
_SEX = ("woman", "man")
_AGE = ("child", "young", "middle aged", "old")
_SKIN = ("dark skin", "brown skin", "light skin")
_HAIR_COLOUR = ("black", "brown", "red", "blonde", "grey")
_HAIR = ("shaved head", "short", "long")


def describe(kit: Any, identity: Any) -> str:
    """A few words on a person, such as "old man, light skin, short grey hair"."""
    sex = _SEX[int(kit.get(identity, "gender") > 0.5)]
    age = _AGE[int(np.searchsorted([16, 35, 60], kit.get(identity, "age_years")))]
    tone = kit.get(identity, "african") - 0.15 + 0.2 * kit.get(identity, "skin_melanin")
    skin = _SKIN[2 - int(np.searchsorted([0.25, 0.6], tone))]
    style = int(round(kit.get(identity, "hair_style")))
    if style < 0:
        hair = _HAIR[0]
    else:
        r, g, b = (kit.get(identity, f"hair_{c}") for c in "rgb")
        saturation, value = (max(r, g, b) - min(r, g, b)) / max(r, g, b, 1e-3), max(r, g, b)
        if value < 0.2:
            colour = 0
        elif saturation < 0.18:
            colour = 4
        elif value > 0.55:
            colour = 3
        else:
            colour = 2 if r > 1.9 * g else 1
        hair = f"{_HAIR[1 if style < 4 else 2]} {_HAIR_COLOUR[colour]} hair"
    return f"{age} {sex}, {skin}, {hair}"


def caption(domain: PictureDomain, view: str, expression: str, person: str, close: bool) -> str:
    """The prompt that distillation will use, with a person's description in the user's place."""
    words = ", ".join([person, STARTER.prompts.close_up] if close else [person])
    if domain == "photo":
        return f"a {view} view of the head of a person, {words}, {EXPRESSIONS[expression].text}, photograph"
    return fill_prompt(getattr(STARTER.prompts, domain), view, EXPRESSIONS[expression].text, words)


def vocabulary() -> list[str]:
    """Every text that training can say, for the tokenizer."""
    texts = [
        caption(d, v, e, "person", True) for d in ("photo", "normal", "albedo") for v in VIEWS for e in EXPRESSIONS
    ]
    words = [*_SEX, *_AGE, *_SKIN, *_HAIR, *_HAIR_COLOUR, "hair", "low quality shadow oversaturated unrealistic"]
    return texts + [mirror_text(t) for t in texts] + words
