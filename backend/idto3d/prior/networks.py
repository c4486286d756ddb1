# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a pack as they lie in its folders, without adapters, and whether they are whole.

What is not would go unnoticed: the libraries warn, make up what is absent, and the head comes out without a prior.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import AutoTokenizer, CLIPTextModel

from ..errors import PACK_AGAIN, UserError
from .adapter_file import not_finite
from .manifest import Pack


def load_networks(pack: Pack) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel, Any]:
    """The pack's base U-Net (no adapters), autoencoder, text encoder and tokenizer, float32 on the CPU.

    Raises UserError E_PACK_FORMAT if one of the folders does not hold such a network, whole.
    """
    local: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    try:
        unet, given = UNet2DConditionModel.from_pretrained(pack.path / "unet", torch_dtype=torch.float32, **local)
        _check_whole("unet", unet, given)
        vae, given = AutoencoderKL.from_pretrained(pack.path / "vae", torch_dtype=torch.float32, **local)
        _check_whole("vae", vae, given)
        text_encoder, given = CLIPTextModel.from_pretrained(pack.path / "text", dtype=torch.float32, **local)
        _check_whole("text", text_encoder, given)
        # Never code that comes with a pack.
        tokenizer = AutoTokenizer.from_pretrained(pack.path / "text", local_files_only=True, trust_remote_code=False)
        _check_tokenizer(tokenizer, text_encoder.config.vocab_size)
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, KeyError, ArithmeticError) as error:
        raise UserError(
            "E_PACK_FORMAT", f"A network of the pack {pack.name} cannot be read ({error}).", PACK_AGAIN
        ) from error
    # A tokenizer need not name a length, and then has one without end.
    tokenizer.model_max_length = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)
    return unet, vae, text_encoder, tokenizer


def _check_whole(folder: str, net: nn.Module, given: Mapping[str, Any]) -> None:
    """Raises ValueError where a file lacks weights: a net would have random ones, or none that it could use; where it
    has more than the configuration has a place for, which then tells of another net; and where some are no numbers, as
    what the net says then is, and the stages take that for no wish."""
    if absent := [*given["missing_keys"], *given.get("mismatched_keys", ())]:
        raise ValueError(f"{folder} lacks {len(absent)} weights, such as {absent[0]}")
    # Older files of CLIP store the numbers of a prompt's places, which are no weights.
    if unused := sorted(name for name in given["unexpected_keys"] if not name.endswith("position_ids")):
        raise ValueError(f"{folder}/config.json has no place for {len(unused)} weights, such as {unused[0]}")
    if broken := not_finite(net.state_dict()):
        raise ValueError(f"{folder} has {len(broken)} weights that are no numbers, such as {broken[0]}")


def _check_tokenizer(tokenizer: Any, known: int) -> None:
    """Raises ValueError where files are absent or cut: prompts would be the same to the net, or be spelt out; and where
    it has tokens beyond those that the net knows."""
    vocabulary = tokenizer.get_vocab()
    if not vocabulary.keys() - set(tokenizer.all_special_tokens):
        raise ValueError("text has a tokenizer without words")
    if (last := max(vocabulary.values())) >= known:
        raise ValueError(f"text has a token of number {last} and embeddings of {known}")
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] != "BPE":
        return
    merged = {first + second for first, second in model["merges"]}
    letters = {token for token in model["vocab"] if len(token.removesuffix(model["end_of_word_suffix"] or "")) == 1}
    if lost := model["vocab"].keys() - merged - letters - tokenizer.get_added_vocab().keys():
        raise ValueError(f"text lacks {len(lost)} of the tokenizer's merges, such as that of {min(lost)}")
