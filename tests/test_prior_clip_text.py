# SPDX-License-Identifier: GPL-3.0-or-later
"""y_exp from an open_clip model in a pack, on tiny random weights in open_clip's own layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from idto3d import prior  # noqa: F401  (makes torchvision importable)
from idto3d.errors import UserError
from idto3d.prior.clip_text import CONFIG, WEIGHTS, embed_texts, expression_vectors
from idto3d.prior.pack import Pack

TEXTS = {"neutral": "a neutral face", "smile": "a smiling face"}
MODEL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def clip_pack(folder: Path, text: dict[str, object] | None = None) -> Pack:
    import open_clip

    torch.manual_seed(0)
    model = open_clip.model.CLIP(**MODEL)
    (folder / "clip").mkdir()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    config = {**MODEL, "text_cfg": {**MODEL["text_cfg"], **(text or {})}}  # type: ignore[dict-item]
    mean_std = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": mean_std}))
    return Pack(folder, "tiny", "CC0", "", 64, 1.0, {}, "epsilon", dict(TEXTS), {CONFIG: "", WEIGHTS: ""})


def test_vectors_are_the_models_own(tmp_path: Path) -> None:
    import open_clip

    pack = clip_pack(tmp_path)
    vectors = expression_vectors(pack)
    assert list(vectors) == list(TEXTS)
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**MODEL).eval()
    with torch.no_grad():
        wanted = model.encode_text(open_clip.tokenize(list(TEXTS.values())), normalize=True)
    np.testing.assert_allclose(np.stack(list(vectors.values())), wanted.numpy(), atol=1e-6)
    assert np.abs(vectors["neutral"] - vectors["smile"]).max() > 1e-3


def test_vectors_of_the_pack_come_first(tmp_path: Path) -> None:
    pack = clip_pack(tmp_path)
    save_file({n: torch.full((8,), float(i)) for i, n in enumerate(TEXTS)}, tmp_path / "expressions.safetensors")
    pack.files["expressions.safetensors"] = ""
    assert expression_vectors(pack)["smile"].tolist() == [1.0] * 8


@pytest.mark.parametrize("fault", ["pickle", "server", "truncated", "no json"])
def test_refusals(tmp_path: Path, fault: str) -> None:
    pack = clip_pack(tmp_path, {"hf_tokenizer_name": "a/b"} if fault == "server" else None)
    if fault == "pickle":
        (tmp_path / WEIGHTS).rename(tmp_path / "clip" / "open_clip_pytorch_model.bin")
    if fault == "truncated":
        (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:1000])
    if fault == "no json":
        (tmp_path / CONFIG).write_text("[]")
    with pytest.raises(UserError) as caught:
        embed_texts(pack, ["a face"])
    assert caught.value.code == ("E_PACK_MISSING" if fault == "pickle" else "E_PACK_FORMAT")


def test_neither_vectors_nor_model(tmp_path: Path) -> None:
    pack = Pack(tmp_path, "tiny", "CC0", "", 64, 1.0, {}, "epsilon", dict(TEXTS), {})
    with pytest.raises(UserError, match="E_PACK_MISSING"):
        expression_vectors(pack)
