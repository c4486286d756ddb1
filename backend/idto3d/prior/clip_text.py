# SPDX-License-Identifier: GPL-3.0-or-later
"""y_exp: the CLIP embedding of each expression's text (Babiloni et al. 2024, section 3.1).

A pack may carry the vectors (expressions.safetensors), as the starter pack does, whose text encoder is its own. A full
pack carries the CLIP model itself instead, in open_clip's layout: clip/open_clip_config.json and
clip/open_clip_model.safetensors.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UserError
from .pack import Pack, read_expressions

VECTORS = "expressions.safetensors"
CONFIG, WEIGHTS = "clip/open_clip_config.json", "clip/open_clip_model.safetensors"


def expression_vectors(pack: Pack) -> dict[str, NDArray[np.float32]]:
    """y_exp (D,) float32 of each of the pack's expressions, in the pack's order.

    Raises UserError E_PACK_MISSING where the pack has neither vectors nor a CLIP model, E_PACK_FORMAT where they cannot
    be used.
    """
    if VECTORS in pack.files or CONFIG not in pack.files:
        return read_expressions(pack)
    vectors = embed_texts(pack, list(pack.expressions.values()))
    return dict(zip(pack.expressions, vectors, strict=True))


@torch.no_grad()
def embed_texts(pack: Pack, texts: list[str]) -> NDArray[np.float32]:
    """Texts to unit vectors (N,D) by the pack's CLIP model; nothing is fetched, no pickle is read."""
    config = pack.file(CONFIG)
    pack.file(WEIGHTS)  # without it open_clip would look for a pickle
    try:
        model_config = json.loads(config.read_text(encoding="utf-8"))["model_cfg"]
        elsewhere = [k for k in model_config["text_cfg"] if k.startswith("hf_")]
    except (ValueError, KeyError, TypeError) as error:
        raise _unusable(f"{CONFIG} is not a model's configuration") from error
    if elsewhere:
        raise _unusable(f"{CONFIG} names files on a server ({', '.join(elsewhere)})")
    import open_clip  # seconds, and the starter pack never needs it

    folder = f"local-dir:{config.parent}"
    try:
        model = open_clip.create_model(folder, require_pretrained=True).eval()
        tokens = open_clip.get_tokenizer(folder)(texts)
        vectors: NDArray[np.float32] = model.encode_text(tokens, normalize=True).float().numpy()
    except Exception as error:  # open_clip, torch and safetensors raise without a common base
        raise _unusable(f"the CLIP model cannot be loaded ({error})") from error
    return vectors


def _unusable(what: str) -> UserError:
    return UserError("E_PACK_FORMAT", f"The pack's expressions cannot be embedded: {what}.", "Install the pack again.")
