# SPDX-License-Identifier: GPL-3.0-or-later
"""Importing peft, diffusers or transformers needs a torchvision that imports, so that is seen to first."""

from ..torchvision_shim import prepare_torchvision

prepare_torchvision()
