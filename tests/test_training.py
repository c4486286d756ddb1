# SPDX-License-Identifier: GPL-3.0-or-later
"""Training's own machinery, on toys: stages, resuming, averages, losses, captions, mirrored pictures."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idto3d.distill.config import DistillationConfig
from idto3d.expressions import EXPRESSIONS
from idto3d.prior.adapters import AdapterConfig, attach, domain_parameters
from idto3d.prior.schedule import make_schedule
from idto3d.prior.starter import build_starter_unet
from idto3d.prior.text import build_starter_text, save_text, split_words
from idto3d.training.augment import Renders, camera_light, degrade, sample_crops, take_photo
from idto3d.training.captions import DOMAINS, Traits, caption, changed, describe, traits_of, vocabulary
from idto3d.training.distillation import STARTER
from idto3d.training.export import _plain
from idto3d.training.head_model import mirror_vertices, uv_islands, vertex_group
from idto3d.training.prior import PriorData, Priors, min_snr_weight, share_base, weighted
from idto3d.training.run import TEXT_LENGTH, _take_over_text, mirror_pictures
from idto3d.training.stage import StageConfig, load_average, run_stage
from idto3d.training.store import Arrays, stored

SOMEBODY = Traits(
    sex=1, age=4, weight=3, skin=3, length=1, colour=6, beard=2, wrinkled=True, freckles=False, glasses=True
)


def _train(folder: Path, steps: int, stop_at: int | None = None, ema: float = 0.9) -> nn.Linear:
    """Linear regression by `run_stage`; raises in the middle if asked, as a kill would."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    done = [0]

    def loss_of(rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        done[0] += 1
        if done[0] == stop_at:
            raise KeyboardInterrupt
        x = torch.randn((8, 3), generator=g)
        return {"mse": (model(x) - x.sum(1, keepdim=True)).square().mean()}

    config = StageConfig(steps=steps, lr=1e-1, warmup=1, checkpoint_every=0.0, half=False, ema=ema)
    run_stage(folder, model, config, loss_of)
    return model


def test_a_stopped_stage_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", 12)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "parts", 12, stop_at=7)
    parts = _train(tmp_path / "parts", 12)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("killed", ["averages", "checkpoint", "renaming"])
def test_a_stage_killed_while_it_saves_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    """Before each of the three files that a save writes or renames, at the third save."""
    through = _train(tmp_path / "whole", 12)
    files = {"averages": "ema.next", "checkpoint": "checkpoint", "renaming": "ema.safetensors"}
    seen, rename = [0], os.replace

    def kill(source: Path, target: Path) -> None:
        if Path(target).name.startswith(files[killed]):
            seen[0] += 1
            if seen[0] == 3:
                raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", kill)
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path / "parts", 12)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "short", 12, stop_at=4 if killed == "renaming" else 3)
    handed_over, expected = nn.Linear(3, 1), nn.Linear(3, 1)
    assert load_average(tmp_path / "parts", handed_over) and load_average(tmp_path / "short", expected)
    torch.testing.assert_close(handed_over.weight, expected.weight, rtol=0, atol=0)
    parts = _train(tmp_path / "parts", 12)
    assert load_average(tmp_path / "parts", handed_over)
    torch.testing.assert_close(parts.weight, through.weight, rtol=0, atol=0)
    torch.testing.assert_close(handed_over.weight, through.weight, rtol=0, atol=0)


def test_a_stage_learns_and_hands_over_its_averages(tmp_path: Path) -> None:
    averaged = _train(tmp_path / "a", 80, ema=0.9)
    last = _train(tmp_path / "b", 80, ema=0.0)
    torch.testing.assert_close(averaged.weight, torch.ones(1, 3), atol=0.1, rtol=0)
    assert not torch.equal(averaged.weight, last.weight)
    stored_model = nn.Linear(3, 1)
    assert load_average(tmp_path / "a", stored_model)
    torch.testing.assert_close(stored_model.weight, averaged.weight)
    assert not load_average(tmp_path / "nothing", stored_model)


def test_min_snr_weighs_by_hand() -> None:
    schedule = make_schedule()
    t = torch.tensor([0, 300, 999])
    a = schedule.alphas_cumprod[t]
    snr = a / (1 - a)
    torch.testing.assert_close(min_snr_weight(schedule, t).view(-1), torch.minimum(snr, torch.tensor(5.0)) / snr)
    assert float(min_snr_weight(schedule, t)[2]) == pytest.approx(1.0)  # little signal: the plain loss


def test_the_head_counts_twice_in_the_loss() -> None:
    schedule, t = make_schedule(), torch.tensor([999])
    noise = torch.zeros(1, 4, 2, 2)
    eps = noise.clone()
    eps[..., 0, 0] = 1.0  # wrong in one pixel of four
    bare, covered = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    covered[0, 0, 0] = 1.0
    assert float(weighted(schedule, eps, noise, t, bare)) == pytest.approx(1 / 4, rel=1e-3)
    assert float(weighted(schedule, eps, noise, t, covered)) == pytest.approx(2 / 5, rel=1e-3)


def test_little_noise_counts_little_in_the_loss() -> None:
    """min-SNR: at t = 0 the signal is so strong that the loss counts 5 / SNR."""
    schedule = make_schedule()
    noise = torch.zeros(1, 4, 2, 2)
    signal = float(schedule.alphas_cumprod[0])
    found = weighted(schedule, noise + 1.0, noise, torch.tensor([0]), torch.zeros(1, 2, 2))
    assert float(found) == pytest.approx(5 * (1 - signal) / signal, rel=1e-3) and float(found) < 0.01


def test_every_caption_is_in_the_vocabulary_and_fits_the_prompt() -> None:
    words, rng = split_words(" ".join(vocabulary())), np.random.default_rng(0)
    longest = 0
    for n in range(300):
        traits = traits_of([int(rng.integers(k)) for k in (2, 5, 5, 4, 5, 7, 3, 2, 2, 2)])
        must = frozenset(vars(traits)) if n % 2 else frozenset()
        text = caption(DOMAINS[n % 2], "front left", list(EXPRESSIONS)[n % 13], describe(traits, rng, 1.0, must), True)
        assert split_words(text) <= words
        longest = max(longest, len(text.replace(",", " ").split()))
    assert longest + 2 <= TEXT_LENGTH


def test_what_was_edited_is_always_said() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        text = describe(SOMEBODY, rng, 0.0, frozenset({"colour", "beard", "glasses", "age"}))
        assert "white" in text and ("beard" in text) and ("glasses" in text or "spectacles" in text)
        assert any(word in text for word in ("very old", "very elderly", "ancient"))
        assert "chubby" not in text and "heavy" not in text  # nothing else is
    gone = describe(replace(SOMEBODY, glasses=False, beard=0), rng, 0.0, frozenset({"glasses", "beard"}))
    assert "no glasses" in gone and "no beard" in gone


def test_changed_names_the_differences() -> None:
    assert changed(SOMEBODY, SOMEBODY) == frozenset()
    assert changed(replace(SOMEBODY, age=1, glasses=False), SOMEBODY) == {"age", "glasses"}


def test_a_mirrored_normal_map_turns_its_x_round() -> None:
    normal, cover = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2), 255, np.uint8)
    normal[0, 0, 0] = (255, 128, 128)  # towards +x, on the left
    mirrored = mirror_pictures("normal", normal, cover)
    assert tuple(mirrored[0, 0, 1]) == (0, 128, 128)
    assert tuple(mirror_pictures("albedo", normal, cover)[0, 0, 1]) == (255, 128, 128)


def test_captions_are_drawn_row_by_row() -> None:
    tokens = torch.arange(2 * 3 * 1).view(2, 3, 1)
    zero = torch.zeros(2, 1, 1, 1)
    data = PriorData({"normal": zero, "albedo": zero}, {"normal": tokens, "albedo": tokens}, tokens[0, :1],
                     torch.zeros(2, 1, 1), np.zeros(2, int), np.zeros(2, int), np.arange(2))  # fmt: skip
    rng = np.random.default_rng(0)
    found = {int(v) for _ in range(40) for v in data.some_tokens("albedo", np.array([1]), rng)}
    assert found == {3, 4, 5}


def test_a_longer_text_encoder_takes_over_the_words_it_knows(tmp_path: Path) -> None:
    tokenizer, encoder = build_starter_text(["old woman"], hidden=16, layers=1, heads=2, max_length=8)
    save_text(tokenizer, encoder, tmp_path)
    new_tokenizer, new = build_starter_text(["a freckled old man"], hidden=16, layers=1, heads=2, max_length=12)
    _take_over_text(tmp_path, new_tokenizer, new)
    own, before = new.state_dict(), encoder.state_dict()
    table = next(n for n in own if n.endswith("token_embedding.weight"))
    places = next(n for n in own if n.endswith("position_embedding.weight"))
    torch.testing.assert_close(
        own[table][new_tokenizer.get_vocab()["old"]], before[table][tokenizer.get_vocab()["old"]]
    )
    torch.testing.assert_close(own[places][:8], before[places])
    assert all(torch.equal(own[n], before[n]) for n in own if own[n].shape == before[n].shape and "layers" in n)


def test_the_starter_block_is_one_that_a_pack_may_hold() -> None:
    assert DistillationConfig.from_pack(STARTER.to_pack()) == STARTER


# ---------------------------------------------------------------------- head model
def test_mirroring_is_an_involution_within_each_group() -> None:
    rng = np.random.default_rng(0)
    half = rng.normal(size=(20, 3)) + [3, 0, 0]
    points = np.concatenate([half, half * [-1, 1, 1] + rng.normal(scale=0.01, size=half.shape), [[0.0, 1, 2]]])
    group = np.concatenate([np.zeros(20), np.zeros(20), [1]])
    mirror = mirror_vertices(points, group)
    np.testing.assert_array_equal(mirror[mirror], np.arange(41))
    np.testing.assert_array_equal(mirror[:20], np.arange(20, 40))
    assert mirror[40] == 40


def test_islands_hang_together_and_groups_take_the_first_part() -> None:
    quads = np.array([[0, 1, 2, 3], [3, 2, 4, -1], [5, 6, 7, -1]])
    islands = uv_islands(quads)
    assert islands[0] == islands[1] != islands[2]
    np.testing.assert_array_equal(vertex_group(quads, np.array([1, 0, 2]), 9), [1, 1, 0, 0, 0, 2, 2, 2, -1])


# ---------------------------------------------------------------------- photographs
def test_a_crop_is_the_picture_under_its_transform() -> None:
    """Pixel centres at integers: a shift by (3, 5) reads whole pixels, half of one their mean."""
    image = torch.rand((1, 24, 24, 3), generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([[[1.0, 0, -3], [0, 1, -5]]])
    torch.testing.assert_close(sample_crops(image, shift, 10)[0], image[0, 5:15, 3:13], atol=1e-5, rtol=0)
    half = torch.tensor([[[1.0, 0, -3.5], [0, 1, -5]]])
    mean = (image[0, 5:15, 3:13] + image[0, 5:15, 4:14]) / 2
    torch.testing.assert_close(sample_crops(image, half, 10)[0], mean, atol=1e-5, rtol=0)


def test_light_follows_the_camera() -> None:
    """A lamp on the person's left is on the right of a frontal picture, and behind the camera seen from the left."""
    left = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    turned = camera_light(left, torch.tensor([0.0, 90.0]), torch.zeros(2))
    torch.testing.assert_close(turned, torch.tensor([[1.0, 0, 0], [0.0, 0, 1]]), atol=1e-6, rtol=0)


def test_photographs_are_pictures_and_their_seeds() -> None:
    cover = torch.zeros(2, 32, 32)
    cover[:, 4:-4, 4:-4] = 1
    up = torch.tensor([0.0, 0, 1]) * cover[..., None]
    light = torch.nn.functional.normalize(torch.ones(2, 3), dim=1)
    points = torch.tensor([[10.0, 10], [20, 10], [15, 15], [11, 20], [19, 20]]).expand(2, 5, 2)
    renders = Renders(
        0.4 * cover[..., None].expand(-1, -1, -1, 3), up, cover, light, torch.zeros(2), torch.zeros(2), points
    )
    first, again = (take_photo(renders, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, again)
    assert first.shape == (2, 32, 32, 3) and 0 <= float(first.min()) and float(first.max()) <= 1
    worse = degrade(first, torch.Generator().manual_seed(1))
    assert worse.shape == first.shape and float((worse - first).abs().max()) > 0.01


def test_stored_arrays_are_made_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Arrays:
        made.append(1)
        return {"a": np.arange(3 + len(made))}

    path = tmp_path / "a.npz"
    assert len(stored(path, make)["a"]) == 4
    assert len(stored(path, make)["a"]) == 4 and len(made) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_domains_share_all_but_their_adapters() -> None:
    first, other = (attach(build_starter_unet(), AdapterConfig(exp_dim=8)) for _ in range(2))
    share_base(first, other)
    priors = Priors({"normal": first, "albedo": other}, nn.Linear(2, 2), torch.zeros(1, 1, 512), torch.zeros(1, 8))
    own = len(domain_parameters(first))
    assert own == len(domain_parameters(other)) and len(list(first.parameters())) > own
    assert len(priors.parameters()) == len(list(first.parameters())) + own + 2
    with torch.no_grad():
        first.conv_in.weight.fill_(0.5)
        domain_parameters(first)[0].fill_(0.25)
    assert float(other.conv_in.weight.min()) == 0.5
    assert not bool((domain_parameters(other)[0] == 0.25).all())
    plain = _plain(first)
    assert float(plain.conv_in.weight.detach().min()) == 0.5 and plain.encoder_hid_proj is None
