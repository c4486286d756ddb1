# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of a pack that load without a word, and are no prior: refused, each with what is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from idto3d.errors import UserError
from idto3d.prior.model import Prior
from idto3d.prior.networks import load_networks
from idto3d.prior.pack import read_pack
from tests.tiny_pack import make_pack, write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a text side like Stable Diffusion's."""
    return make_pack(tmp_path_factory.mktemp("pack"), clip=True)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "pack"))


def changed(config: Path, **values: Any) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), **values}))


def refused(folder: Path, why: str) -> None:
    with pytest.raises(UserError, match=f"E_PACK_FORMAT.*{why}"):
        write(folder)
        Prior.load(read_pack(folder))


def test_vocabulary_and_merges_without_tokenizer_json_are_enough(folder: Path) -> None:
    """Stable Diffusion 1.5 has no other."""
    (folder / "text" / "tokenizer.json").unlink()
    write(folder)
    assert load_networks(read_pack(folder))[3]("the cat").input_ids == [54, 53, 2, 0, 45, 55]


def test_a_tokenizer_without_words_is_refused(folder: Path) -> None:
    """Every prompt would be the same to the net."""
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / "text" / name).unlink()
    refused(folder, "without words")


@pytest.mark.parametrize(("merges", "lost"), [("", 2), ("#version: 0.2\n", 2), ("#version: 0.2\nt h\n", 1)])
def test_a_tokenizer_with_cut_merges_is_refused(merges: str, lost: int, folder: Path) -> None:
    """It would spell words out that the net knows whole."""
    (folder / "text" / "tokenizer.json").unlink()
    (folder / "text" / "merges.txt").write_text(merges)
    refused(folder, f"lacks {lost} of the tokenizer's merges")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "file", ["text/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "normal"]
)
def test_weights_that_are_no_numbers_are_refused(file: str, value: float, folder: Path) -> None:
    """The stages would take all that the net says for no wish."""
    path = folder / f"{file}.safetensors"
    with safe_open(path, "pt") as stored:
        metadata = stored.metadata()
    weights = load_file(path)
    last = max(name for name in weights if name.endswith("weight"))
    weights[last].view(-1)[-1] = value
    save_file(weights, path, metadata)
    refused(folder, f"are no numbers, such as .*{last}")


def test_tokens_that_the_net_does_not_know_are_refused(folder: Path) -> None:
    """Only a prompt with one of them would end the head."""
    path = folder / "text" / "tokenizer.json"
    stored = json.loads(path.read_text())
    stored["model"]["vocab"]["z"] = 56
    path.write_text(json.dumps(stored))
    refused(folder, "token of number 56 and embeddings of 56")


def test_weights_that_the_configuration_does_not_use_are_refused(folder: Path) -> None:
    """The net would be another than the one that was trained."""
    changed(folder / "text" / "config.json", num_hidden_layers=0)
    refused(folder, "text/config.json has no place for 16 weights")
    changed(folder / "text" / "config.json", num_hidden_layers=1)
    changed(folder / "unet" / "config.json", mid_block_type=None)
    refused(folder, "unet/config.json has no place for .* weights, such as mid_block")


def test_older_names_and_the_numbers_of_places_are_known(folder: Path) -> None:
    """As in Stable Diffusion 1.5's own files."""
    path = folder / "text" / "model.safetensors"
    places = {"text_model.embeddings.position_ids": torch.arange(9)[None]}
    save_file({**load_file(path), **places}, path, {"format": "pt"})
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    older = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    weights = load_file(path)
    for new, old in older.items():
        weights = {name.replace(f"attentions.0.{new}", f"attentions.0.{old}"): w for name, w in weights.items()}
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in weights
    save_file(weights, path, {"format": "pt"})
    write(folder)
    Prior.load(read_pack(folder))


@pytest.mark.parametrize(
    "more",
    [
        {"class_embed_type": "timestep"},
        {"num_class_embeds": 2},
        {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64},
        {"time_cond_proj_dim": 8},
    ],
)
def test_a_u_net_that_wants_more_is_refused(more: dict[str, Any], folder: Path) -> None:
    """Whole, with the weights for it."""
    unet = UNet2DConditionModel.from_config({**json.loads((folder / "unet" / "config.json").read_text()), **more})
    unet.half().save_pretrained(folder / "unet")
    refused(folder, "wants inputs that it is not given")
