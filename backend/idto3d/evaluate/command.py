# SPDX-License-Identifier: GPL-3.0-or-later
"""Accuracy on synthetic people of known geometry (the default), likeness on photographs by a second recogniser
(--real), and the effect of words (--prompts)."""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import UserError
from ..pipeline import STARTER_PACK, GenerateConfig
from ..places import check_file
from ..protocol import QUALITY_NAMES
from .table import Row, print_table


def main(arguments: list[str]) -> int:
    """Prints the table. Status 1 if an input is missing or the report has no place, else 0, whatever the results."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        if given.out:
            check_file(given.out)
        report = _real(given) if given.real else _synthetic(given)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    if given.out:
        given.out.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m idto3d evaluate", description=__doc__)
    parser.add_argument("--out", type=Path, help="a JSON file for everything that was measured")
    parser.add_argument(
        "--real", nargs=2, type=Path, metavar=("PEOPLE.json", "HEADS"), help="score bundles by a second recogniser"
    )
    parser.add_argument("--prompts", action="store_true", help="ten prompts on each person instead of the table")
    parser.add_argument("--pack", type=Path, default=STARTER_PACK, help="weights to use (the starter pack)")
    parser.add_argument("--headkit", type=Path, help="folder of the head kit, whose skins and hair people have")
    parser.add_argument("--facenets", type=Path, help="folder of the nets that the kit is registered with")
    parser.add_argument("--work", type=Path, help="folder that keeps the registration between runs")
    parser.add_argument("--people", type=int, default=20, help="synthetic people to measure (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the first person, after 9,000,000")
    parser.add_argument("--quality", choices=QUALITY_NAMES, default="standard", help="work spent on a head (standard)")
    sizes = (512, 1024, 2048, 4096)
    parser.add_argument("--texture-size", type=int, choices=sizes, default=1024, help="of the skin, pixels (1024)")
    parser.add_argument("--start-only", action="store_true", help="no distillation")
    parser.add_argument(
        "--ablation", action="store_true", help="three times the steps and the prior's own samples, too"
    )
    parser.add_argument("--pictures", type=Path, help="folder for sheets")
    return parser


def _real(given: argparse.Namespace) -> dict[str, Any]:
    from .real import as_json, evaluate_real, print_scores, real_rows

    scores = evaluate_real(*given.real)
    print(print_scores(scores), print_table(real_rows(scores)), sep="\n\n")
    return {"scores": as_json(scores), "table": _table(real_rows(scores))}


def _synthetic(given: argparse.Namespace) -> dict[str, Any]:
    from ..headmodel import load_head_model
    from ..photos import load_face_nets
    from ..prior.pack import read_pack
    from ..training.population import load_population
    from ..training.regions import Regions
    from .prompts import evaluate_prompts, print_changes
    from .summary import stage_lines, synthetic_rows
    from .synthetic import Instruments, Study, evaluate_people

    if given.headkit is None or given.facenets is None:
        raise UserError("E_KIT_MISSING", "The synthetic people need a head kit.", "Pass --headkit and --facenets.")
    pack = read_pack(given.pack)
    model = load_head_model(pack.file("head.safetensors"))
    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        population = load_population(model, given.headkit, given.facenets, work)
    tools = Instruments(pack, load_face_nets(pack.path / "photos"), population, Regions(model))
    config = GenerateConfig(pack=given.pack, quality=given.quality, texture_size=given.texture_size)
    stages = () if given.start_only else (1, 3) if given.ablation else (1,)
    study = Study(given.people, given.seed, config, stages, given.ablation, given.pictures)

    def tell(line: str) -> None:
        print(line, flush=True)

    if given.prompts:
        changes, sheet = evaluate_prompts(tools, study, tell)
        if given.pictures and sheet.size:
            given.pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray(sheet).save(given.pictures / "prompts.png")
        print(print_changes(changes))
        return {"prompts": changes}
    people = evaluate_people(tools, study, tell)
    rows = synthetic_rows(people)
    print("", print_table(rows), "", *stage_lines(people), sep="\n")
    return {"seed": given.seed, "table": _table(rows), "people": people}


def _table(rows: list[Row]) -> list[dict[str, Any]]:
    return [{**asdict(row), "verdict": row.verdict} for row in rows]
