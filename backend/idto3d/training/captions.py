# SPDX-License-Identifier: GPL-3.0-or-later
"""Captions of synthetic pictures: person, view, expression and domain.

Each of a person's traits is mentioned or not, by one of several words and in any order, so that words act
independently.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from ..expressions import EXPRESSIONS
from ..prior.prompts import VIEWS, fill_prompt, mirror_text
from .distillation import STARTER

Domain = Literal["normal", "albedo"]
DOMAINS: tuple[Domain, ...] = ("normal", "albedo")

SAID = 0.7
"""Probability that a caption mentions a trait."""

_SEX = (("woman", "woman", "lady", "female person"), ("man", "man", "guy", "male person"))
_AGE = (("young",), ("adult",), ("middle aged",), ("old", "elderly", "aged"), ("very old", "very elderly", "ancient"))
_WEIGHT = (
    ("very thin", "gaunt", "skinny"),
    ("thin", "slim"),
    ("average weight",),
    ("heavy", "chubby"),
    ("fat", "very heavy", "obese"),
)
_SKIN = (("black skin", "very dark skin"), ("dark skin", "brown skin"), ("tanned skin",), ("fair skin", "light skin"))
_COLOUR = (
    ("black",),
    ("dark brown", "brown"),
    ("brown",),
    ("red", "ginger"),
    ("blonde", "blond"),
    ("grey", "gray"),
    ("white",),
)
_LENGTH = (
    ("bald", "bald head", "shaved head", "no hair"),
    ("short",),
    ("medium length",),
    ("long",),
    ("long tied", "tied back"),
)
_BEARD = ((), ("stubble", "unshaven"), ("beard", "bearded", "full beard"))
_WRINKLES = ("wrinkled", "wrinkles", "wrinkled skin")
_FRECKLES = ("freckles", "freckled", "many freckles")
_GLASSES = ("glasses", "wearing glasses", "spectacles")


@dataclass(frozen=True)
class Traits:
    """Of one person; indices into the words above."""

    sex: int
    age: int
    weight: int
    skin: int
    length: int
    colour: int
    beard: int
    wrinkled: bool
    freckles: bool
    glasses: bool


def traits_of(numbers: Iterable[int]) -> Traits:
    """Traits from their numbers, in the order of the fields, as `data` stores them."""
    sex, age, weight, skin, length, colour, beard, *flags = (int(n) for n in numbers)
    return Traits(sex, age, weight, skin, length, colour, beard, *(bool(flag) for flag in flags))


def changed(traits: Traits, since: Traits) -> frozenset[str]:
    """Names of the traits in which two looks of a person differ."""
    return frozenset(f.name for f in fields(Traits) if getattr(traits, f.name) != getattr(since, f.name))


def describe(traits: Traits, rng: np.random.Generator, said: float = SAID, must: frozenset[str] = frozenset()) -> str:
    """A description such as "old man, fair skin, short grey hair, glasses". must: traits that are always mentioned,
    because they differ from the identity's vector; their absence is mentioned, too ("no glasses")."""

    def one(words: tuple[str, ...]) -> str:
        return str(rng.choice(words)) if words else ""

    def maybe(text: str, *names: str) -> str:
        return text if rng.random() < said or must.intersection(names) else ""

    who = maybe(f"{maybe(one(_AGE[traits.age]), 'age')} {one(_SEX[traits.sex])}".strip(), "age", "sex")
    hair = one(_LENGTH[traits.length])
    if traits.length > 0:
        hair = f"{maybe(hair, 'length')} {maybe(one(_COLOUR[traits.colour]), 'colour')} hair".strip()

    def worn(there: bool, words: tuple[str, ...], name: str) -> str:
        if there:
            return maybe(one(words), name)
        return f"no {words[0]}" if name in must or rng.random() < 0.1 * said else ""

    rest = [
        maybe(one(_WEIGHT[traits.weight]), "weight"),
        maybe(one(_SKIN[traits.skin]), "skin"),
        maybe(hair, "length", "colour"),
        worn(traits.beard > 0, _BEARD[traits.beard] or _BEARD[2], "beard"),
        maybe(one(_WRINKLES), "wrinkled") if traits.wrinkled else "",
        worn(traits.freckles, _FRECKLES, "freckles"),
        worn(traits.glasses, _GLASSES, "glasses"),
    ]
    return ", ".join(part for part in [who, *(rest[n] for n in rng.permutation(len(rest)))] if part)


def caption(domain: Domain, view: str, expression: str, person: str, close: bool) -> str:
    """The prompt that distillation will use, with a person's description in the user's place."""
    words = ", ".join(part for part in (person, STARTER.prompts.close_up if close else "") if part)
    return fill_prompt(getattr(STARTER.prompts, domain), view, EXPRESSIONS[expression].text, words)


def vocabulary() -> list[str]:
    """All texts that captions can contain, for the tokenizer."""
    texts = [caption(d, v, e, "person", True) for d in DOMAINS for v in VIEWS for e in EXPRESSIONS]
    lists = (_SEX, _AGE, _WEIGHT, _SKIN, _COLOUR, _LENGTH, _BEARD, (_WRINKLES, _FRECKLES, _GLASSES))
    words = [word for group in lists for choice in group for word in choice]
    return texts + [mirror_text(t) for t in texts] + words + ["hair", "no", "as a an with and has"]
