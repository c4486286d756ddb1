# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of check_export.py: which keys an export has, and what things are called in it."""

from idto3d_blender.head.export import keys
from idto3d_blender.head.export.names import ascii_name


def check_keys_by_group_and_vrms_names() -> None:
    given = ["smile", "eyeBlinkLeft", "eyeBlinkRight", "eye_closed", "viseme_aa", "mine", "eyeLookOutLeft"]
    assert list(keys.wanted(given, ("ARKIT", "OTHER"), vrm=False)) == [
        "eyeBlinkLeft",
        "eyeBlinkRight",
        "mine",
        "eyeLookOutLeft",
    ]
    # What *Add Mirrored Keys* makes is of the whole face, as what it is made from.
    assert keys.group_of("mouth_right") == keys.group_of("jaw_left") == keys.group_of("mouth_left") == "MOODS"
    mixes = keys.wanted(given, ("MOODS",), vrm=True)
    assert list(mixes) == ["happy", "relaxed", "aa", "blink", "blinkLeft", "blinkRight", "smile", "eye_closed"]
    # The best that there is: both lids of ARKit's rather than the whole expression; half a mix is none.
    assert mixes["blink"] == {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0} and mixes["happy"] == {"smile": 1.0}
    assert "lookLeft" not in mixes and keys.vrm_mixes(["eye_closed"]) == {"blink": {"eye_closed": 1.0}}
    # A user's own key of that name is not mixed anew.
    assert keys.vrm_mixes(["happy", "smile"])["happy"] == {"happy": 1.0}
    weights = [weight for choices in keys.VRM.values() for mix in choices for weight in mix.values()]
    assert len(keys.VRM) == 17 and 0 < min(weights) <= max(weights) == 1


def check_names_that_every_format_keeps() -> None:
    for given, wanted in (
        ("Zoë 2", "Zoe_2"),
        ("名前", "head_acb0"),
        ("3rd try.001", "head_3rd_try_001"),
        ("__", "head_1f01"),
        ("anna", "anna"),
    ):
        assert ascii_name(given) == wanted
