# SPDX-License-Identifier: GPL-3.0-or-later
"""The 13 expressions by name: the text that conditions the priors, and the ARKit weights of the head model.

Names follow FaceWarehouse and FaceScape; which 13 ID-to-3D uses is not published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import UserError


@dataclass(frozen=True)
class Expression:
    """text: what the priors are told; weights: see `HeadModel.expression_vector`, 0..1, more where one shape
    alone is too weak to be read at a glance."""

    text: str
    weights: Mapping[str, float] = field(default_factory=dict)


EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression("relaxed neutral expression, closed mouth"),
    "smile": Expression(
        "smiling with closed lips",
        {
            "mouthSmile": 0.95,
            "mouthDimple": 0.2,
            "cheekRaiser": 0.6,
            "cheekSquint": 0.3,
            "eyeSquint": 0.2,
            "mouthClose": 0.03,
        },
    ),
    "grin": Expression(
        "big grin showing teeth",
        {
            "mouthSmile": 0.95,
            "mouthUpperUp": 0.45,
            "mouthLowerDown": 0.8,
            "mouthStretch": 0.2,
            "cheekRaiser": 0.7,
            "eyeSquint": 0.3,
        },
    ),
    "mouth_stretch": Expression(
        "mouth wide open",
        {"jawOpen": 0.9, "mouthStretch": 0.3, "mouthLowerDown": 0.6, "mouthUpperUp": 0.4, "browInnerUp": 0.2},
    ),
    "anger": Expression(
        "angry, frowning brows, pressed lips",
        {
            "browDown": 1.4,
            "noseSneer": 0.5,
            "mouthPress": 0.8,
            "mouthFrown": 0.4,
            "mouthShrugLower": 0.35,
            "eyeSquint": 0.6,
            "mouthClose": 0.06,
        },
    ),
    "sadness": Expression(
        "sad, inner brows raised, mouth corners down",
        {"browInnerUp": 1.4, "browDown": 0.3, "mouthFrown": 1.1, "mouthShrugLower": 0.5, "eyeSquint": 0.25},
    ),
    "brow_raiser": Expression(
        "surprised, raised eyebrows, wide eyes", {"browInnerUp": 1.2, "browOuterUp": 1.2, "eyeWide": 1.0}
    ),
    "lip_puckerer": Expression("puckered lips, kissing", {"mouthPucker": 1.3, "mouthFunnel": 0.15, "mouthClose": 0.03}),
    "lip_funneler": Expression("lips in an O shape", {"mouthFunnel": 0.65, "mouthPucker": 0.45, "jawOpen": 0.35}),
    "cheek_blowing": Expression(
        "puffed cheeks", {"cheekPuff": 1.6, "mouthPucker": 0.3, "mouthPress": 0.4, "mouthClose": 0.03}
    ),
    "eye_closed": Expression("eyes closed", {"eyeBlink": 1.0}),
    "mouth_left": Expression(
        "mouth pulled to the left side", {"mouthLeft": 1.15, "mouthDimple_L": 0.4, "jawLeft": 0.3}
    ),
    "jaw_right": Expression("lower jaw shifted to the right", {"jawRight": 2.2, "mouthPress": 0.3, "mouthClose": 0.03}),
}


def parse_expressions(choice: str, available: Mapping[str, object]) -> list[str]:
    """ "all" or a comma-separated list -> names in the pack's order, neutral always among them. Raises E_EXPRESSION."""
    if choice == "all":
        return list(available)
    wanted = {name.strip() for name in choice.split(",") if name.strip()}
    unknown = sorted(wanted - set(available))
    if unknown:
        raise UserError(
            "E_EXPRESSION",
            f"The pack knows no expression named {', '.join(unknown)}.",
            f"Choose from {', '.join(available)}.",
        )
    return [name for name in available if name in wanted or name == "neutral"]
