# SPDX-License-Identifier: GPL-3.0-or-later
"""The starter pack's text side: a word-level tokenizer and a small CLIP text encoder, made from scratch.

Both are saved in transformers' layout, so that one piece of code loads them and Stable Diffusion's.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

BOS, EOS, PAD, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|pad|>", "<|unknown|>"
# The end marker must not be the third: an eos_token_id of 2 switches CLIPTextModel to a legacy rule that pools at the
# largest id instead of at the end marker.
_SPECIAL = (PAD, UNKNOWN, BOS, EOS)
_WORD = r"[A-Za-z0-9]+"


def build_starter_text(
    words: Iterable[str], hidden: int = 128, layers: int = 2, heads: int = 4, max_length: int = 32
) -> tuple[PreTrainedTokenizerFast, CLIPTextModel]:
    """A tokenizer that knows `words` (case and punctuation are ignored) and an untrained CLIPTextModel for it.

    hidden: width C of the token embeddings and of the pooled vector; max_length: tokens L of every prompt, two of which
    mark its start and end.
    """
    vocabulary = {word: index for index, word in enumerate([*_SPECIAL, *sorted(split_words(" ".join(words)))])}
    raw = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    raw.normalizer = Lowercase()
    raw.pre_tokenizer = Split(Regex(_WORD), behavior="removed", invert=True)
    raw.post_processor = TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, vocabulary[BOS]), (EOS, vocabulary[EOS])]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=max_length,
    )
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        projection_dim=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=max_length,
        bos_token_id=vocabulary[BOS],
        eos_token_id=vocabulary[EOS],
        pad_token_id=vocabulary[PAD],
    )
    return tokenizer, CLIPTextModel(config)


def save_text(tokenizer: PreTrainedTokenizerFast, text_encoder: CLIPTextModel, folder: Path) -> None:
    """Write both into one folder, a pack's ``text/``."""
    tokenizer.save_pretrained(folder)
    text_encoder.save_pretrained(folder)


def split_words(text: str) -> set[str]:
    """The distinct lower-case words of a text, as the starter tokenizer splits it."""
    pre = Split(Regex(_WORD), behavior="removed", invert=True)
    return {piece for piece, _ in pre.pre_tokenize_str(text.lower())}
