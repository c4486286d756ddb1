# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle as the backend holds it."""

from typing import Any

import numpy as np

from idto3d.bundle import Bundle, BundleMaterial, Fade, PhotoScore, Wrinkles
from tests.blender import synthetic_bundle as synthetic


def example() -> Bundle:
    """A bundle with every field used and pixels that are not all alike."""
    rng = np.random.default_rng(0)

    def image(*shape: int) -> Any:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    arrays: dict[str, Any] = synthetic.head()
    return Bundle(
        **arrays,
        parts=synthetic.PARTS,
        materials=(
            BundleMaterial("skin", image(32, 32, 3), image(16, 16), image(8, 8), image(16, 16, 3)),
            BundleMaterial("eyes", image(16, 16, 3), 0.1, 0.5),
            BundleMaterial("lashes", image(16, 16, 4), 0.5, 0.25, alpha="clip"),
            BundleMaterial("film", image(8, 8, 4), 0.0, 1.0, alpha="blend"),
        ),
        expressions=synthetic.EXPRESSIONS,
        expression_groups=("expression", "arkit", "viseme"),
        preview=image(20, 30, 3),
        poses=image(8, 8, 3),  # of the one expression of the head's own
        seen_map=image(16, 16),
        expression_albedo={"smile": image(16, 16, 3)},
        wrinkles=Wrinkles(
            {"wrinkles_up": image(16, 16, 4)},
            {"wrinkles_up_mask_1": image(8, 8, 3)},
            tuple(Fade("wrinkles_up", "wrinkles_up_mask_1", n, gains) for n, gains in enumerate(synthetic.GAINS)),
        ),
        pack="synthetic",
        seed=2**40,
        settings={"preset": "draft", "steps": 3},
        photos=(PhotoScore("a.jpg", 0.75, {"verdict": "good", "yaw": -3.5}), PhotoScore("b.jpg")),
        timings={"geometry": 1.5},
        licence="CC0-1.0",
        consent="Zoë agreed",
    )
