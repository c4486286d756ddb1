# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts, and the starter pack's tokenizer and text encoder."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, CLIPTextModel

from idto3d.distill.config import Prompts
from idto3d.distill.guidance import conditions
from idto3d.distill.views import View
from idto3d.prior.model import Prior, tokenize
from idto3d.prior.pack import read_pack
from idto3d.prior.prompts import OVERHEAD, VIEWS, fill_prompt, mirror_text, view_name
from idto3d.prior.text import build_starter_text, save_text, split_words
from idto3d.render.cameras import make_camera
from tests.known_prior import quick_config, someone
from tests.tiny_pack import DIM, make_pack


@pytest.mark.parametrize(
    ("azimuth", "elevation", "view"),
    [
        (0, 0, "front"),
        (22.4, 0, "front"),
        (22.6, 0, "front left"),
        (90, 10, "left side"),
        (135, 0, "back left"),
        (180, 0, "back"),
        (-180, 0, "back"),
        (-135, 0, "back right"),
        (-90, 0, "right side"),
        (270, -20, "right side"),
        (-45, 0, "front right"),
        (359, 0, "front"),
        (40, 60, "front left"),
        (40, 61, OVERHEAD),
    ],
)
def test_view_name(azimuth: float, elevation: float, view: str) -> None:
    assert view_name(azimuth, elevation) == view


TEMPLATE = "a {view} view of a head, {words}, {expression}, normal map"


def test_prompt() -> None:
    assert fill_prompt(TEMPLATE, "front left", "smiling", " an old man,") == (
        "a front left view of a head, an old man, smiling, normal map"
    )
    assert fill_prompt(TEMPLATE, "back") == "a back view of a head, normal map"
    with pytest.raises(ValueError, match="view"):
        fill_prompt(TEMPLATE, "sideways")
    with pytest.raises(KeyError):
        fill_prompt("a {camera} view", "back")


def test_a_long_description_leaves_room_for_the_rest(tmp_path: Path) -> None:
    """With the tokenizer that a pack has; what is cut off would be the expression, and that it is a map of normals."""
    prior = Prior.load(read_pack(make_pack(tmp_path / "pack")))
    long = "an old man with a beard, and so on and on"
    prior.tokenizer, _ = build_starter_text([TEMPLATE, "front close up smiling", long], max_length=20)
    asked: list[str] = []
    prior.encode_text = lambda texts: (asked.extend(texts), torch.zeros(len(texts), 20, DIM))[1]  # type: ignore[method-assign, func-returns-value]
    views = [View(make_camera(0, 0, 30, 0.3, (0, 0, 0)), close) for close in (False, True)]
    config = quick_config(1)
    config = replace(config, prompts=Prompts(TEMPLATE, TEMPLATE, "close up"))
    for words in ("an old man", long, ""):
        conditions(prior, replace(someone(), texts=("", "smiling", ""), words=words), config, 1, views, "normal")
    assert asked == [
        "a front view of a head, an old man, smiling, normal map",
        "a front view of a head, an old man, close up, smiling, normal map",
        "a front view of a head, an old man with a beard, and so on, smiling, normal map",
        "a front view of a head, an old man with a beard, and, close up, smiling, normal map",
        "a front view of a head, smiling, normal map",
        "a front view of a head, close up, smiling, normal map",
    ]


def test_mirror() -> None:
    assert mirror_text("mouth pulled to the left side, right eye") == "mouth pulled to the right side, left eye"
    assert mirror_text("brightly left, right.") == "brightly right, left."


def test_starter_text_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    prompts = [fill_prompt(TEMPLATE, view, "smiling") for view in VIEWS]
    tokenizer, encoder = build_starter_text(prompts, hidden=16, layers=1, heads=2, max_length=32)
    encoder.eval()
    save_text(tokenizer, encoder, tmp_path)
    tokenizer2 = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    encoder2 = CLIPTextModel.from_pretrained(tmp_path, local_files_only=True)
    texts = [*prompts, "", "A SMILING, head.", "zebra"]
    ids = tokenize(tokenizer, texts)
    assert ids.shape == (len(texts), 32)
    assert torch.equal(ids, tokenize(tokenizer2, texts))
    with torch.no_grad():
        one, two = encoder(ids), encoder2(ids)
    assert torch.equal(one.last_hidden_state, two.last_hidden_state)
    # The pooled vector is the one at the end marker, wherever that is, and a long prompt still has it.
    end = (ids == tokenizer.eos_token_id).int().argmax(1)
    assert end[-3:].tolist() == [1, 4, 2]
    assert torch.equal(two.pooler_output, one.last_hidden_state[torch.arange(len(texts)), end])
    assert (tokenize(tokenizer2, ["view " * 80])[0] == tokenizer2.eos_token_id).sum() == 1


def test_words_are_told_apart_and_unknown_ones_are_not() -> None:
    assert split_words("A front, FRONT view!") == {"a", "front", "view"}
    tokenizer, _ = build_starter_text(["a front view"], hidden=8, layers=1, heads=1, max_length=8)
    a, b, c, d = tokenize(tokenizer, ["front view", "view front", "Front, view.", "zebra view"])
    assert not torch.equal(a, b)
    assert torch.equal(a, c)
    assert d[1] == tokenizer.unk_token_id
