# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the trained networks as a pack: safetensors, ONNX, JSON and a model card."""

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel

from ..expressions import EXPRESSIONS
from ..prior.adapters import save_domain, trainable_share
from ..prior.pack import reference_file, write_expressions, write_pack_json
from ..prior.reference import save_reference
from ..prior.starter import IMAGE_SIZE, build_starter_unet
from ..prior.text import save_text
from .distillation import STARTER
from .face_nets_pack import write_face_nets
from .population import TRAIN_SEED
from .run import REFERENCE, Run

SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LICENCE = "CC0-1.0 AND MIT AND Apache-2.0"  # weights; head model; the nets in photos/


def write_pack(run: Run) -> Path:
    """Everything that ships, into `work/pack`; the model card is the one of the pack it goes on from, if any."""
    out = run.work / "pack"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    shutil.copyfile(run.head_file, out / "head.safetensors")
    shutil.copyfile(Path(run.config.ictkit) / "LICENSE", out / "LICENSE-ICT.txt")
    shutil.copyfile(run.config.recogniser, out / "recognition.onnx")
    write_face_nets(Path(run.config.facenets), out / "photos")
    if run.motion_file.exists():
        shutil.copyfile(run.motion_file, out / run.motion_file.name)
    priors = run.load_priors()
    shares = {domain: trainable_share(unet) for domain, unet in priors.unets.items()}
    for domain, unet in priors.unets.items():
        save_domain(unet, out / f"{domain}.safetensors")
        if (seeing := run.load_reference(domain)) is not None:
            save_reference(seeing, REFERENCE, out / reference_file(domain))
    _plain(priors.unets["normal"]).half().save_pretrained(out / "unet")
    run.load_vae().half().save_pretrained(out / "vae")
    save_text(run.text[0], run.text[1].half(), out / "text")
    write_expressions(out / "expressions.safetensors", tuple(EXPRESSIONS), run.expression_codes.cpu().numpy())
    shutil.copyfile(run.work / "priors" / "samples.png", out / "samples.png")
    people = run.data_config.people
    figures = {"adapter_share": shares, "people": people, "first_seed": TRAIN_SEED, "last_log_line": _final_losses(run)}
    (out / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    if run.config.init and (card := Path(run.config.init) / "MODEL_CARD.md").exists():
        shutil.copyfile(card, out / "MODEL_CARD.md")
    write_pack_json(
        out,
        name="starter",
        licence=LICENCE,
        provenance="priors trained on synthetic heads, head model of scans, nets for photographs; see MODEL_CARD.md",
        image_size=IMAGE_SIZE,
        latent_scale=run.latent_scale,
        schedule=SCHEDULE,
        prediction_type="epsilon",
        expressions=EXPRESSIONS,
        distillation=STARTER.to_pack(),
    )
    total = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"pack: {out}, {total / 1e6:.1f} MB, adapters {shares}")
    return out


def _plain(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The base alone: diffusers saves no U-Net with adapters on it."""
    base = build_starter_unet()
    adapted = {n.replace(".base_layer.", "."): v for n, v in unet.state_dict().items()}
    base.load_state_dict({n: adapted[n] for n in base.state_dict()})
    return base


def _final_losses(run: Run) -> dict[str, Any]:
    """The last line of every stage's log."""
    logs = {stage: run.work / stage / "log.jsonl" for stage in ("vae", "priors")}
    return {stage: json.loads(log.read_text().splitlines()[-1]) for stage, log in logs.items() if log.exists()}
