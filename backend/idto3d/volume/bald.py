# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a photograph shows a bald head: its scalp is skin, in another light than the cheeks.

Told before hair is looked for, which would else be found: colours that no cheek has, where hair usually is. Nothing
stands off a bald head, its colours change by and by, and none of it is black.
"""

import cv2
import numpy as np

from ..arrays import Array
from ..ramps import ramp
from .head_view import HeadView

BALD = 3e-4  # square metres that stand off, or are unlike skin: fewer are a bald head's lights
OFF = (0.01, 0.06)  # metres from the head's outline
HAIRLINE = (10.0, 20.0)  # L*a*b* a centimetre where the scalp's colours change most: of a bald head's lights, of hair
BLUR, MOST = 0.003, 90  # metres over which they change; percentile
RIM, OVER_BROWS = 0.008, 0.015  # metres inside the outline, and over the brows, from which that is asked
SHOWN = 0.3  # of the scalp: a picture that shows less of it does not tell
DARK, BLACK = (0.65, 0.5), 0.4  # of the skin's L*: of a bald head in the shade and of dark hair; what is no skin at all


def is_bald(view: HeadView, ring: Array, like_skin: Array) -> bool:
    """ring, like_skin (size,size) 0..1: close around the skull; of the colours of skin."""
    if view.scalp_shown < SHOWN:
        return False
    off = (view.outside > OFF[0]) & (view.outside < OFF[1]) & (view.above > view.mouth) & view.person
    grown, scalp, skin = float(off.sum()), (view.scalp > 0.9) & view.person, view.sure_skin & view.person
    if scalp.any() and skin.any():
        light = view.colour[..., 0] / max(float(np.median(view.colour[..., 0][skin])), 1.0)
        sure = max(ramp(_hairline(view), *HAIRLINE), ramp(np.median(light[scalp]), *DARK))
        unlike = ((ring + 0.6 * scalp) * (1.0 - like_skin)).sum() + (scalp & (light < BLACK)).sum()
        grown += float(sure * unlike)
    return grown / view.camera.scale**2 < BALD


def _hairline(view: HeadView) -> float:
    """L*a*b* a centimetre by which colours change where, on the scalp and before it, they change most."""
    around = (view.scalp > 0.02) & (view.above > view.brow + OVER_BROWS) & (view.within > RIM) & view.person
    if not around.any():
        return np.inf
    head, blur = (view.person & view.skin).astype(np.float32), BLUR * view.camera.scale
    known = np.maximum(cv2.GaussianBlur(head, (0, 0), blur), 1e-3)
    smooth = cv2.GaussianBlur(view.colour * head[..., None], (0, 0), blur) / known[..., None]
    down, across = np.gradient(smooth, axis=(0, 1))
    change = 0.01 * view.camera.scale * np.sqrt((down**2 + across**2).sum(-1))
    return float(np.percentile(change[around], MOST))
