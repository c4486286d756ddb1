# SPDX-License-Identifier: GPL-3.0-or-later
"""The 13 expressions by name, each with the text that conditions the priors.

Names follow FaceWarehouse / FaceScape; which 13 ID-to-3D uses is not published.
"""

from __future__ import annotations

from .errors import UserError

EXPRESSIONS: dict[str, str] = {
    "neutral": "relaxed neutral expression, closed mouth",
    "smile": "smiling with closed lips",
    "grin": "big grin showing teeth",
    "mouth_stretch": "mouth wide open",
    "anger": "angry, frowning brows, pressed lips",
    "sadness": "sad, inner brows raised, mouth corners down",
    "brow_raiser": "surprised, raised eyebrows, wide eyes",
    "lip_puckerer": "puckered lips, kissing",
    "lip_funneler": "lips in an O shape",
    "cheek_blowing": "puffed cheeks",
    "eye_closed": "eyes closed",
    "mouth_left": "mouth pulled to the left side",
    "jaw_right": "lower jaw shifted to the right",
}


STRENGTH = {"mouth_left": 1.6, "jaw_right": 1.6}
"""How much further than its recipe in the training data an expression goes; 1 where it is not named. At 1 these two
move the mouth by 8 mm, of which one sees little. Direction and shape of the motion stay as they were learnt."""


def parse_expressions(choice: str, available: dict[str, str]) -> list[str]:
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
