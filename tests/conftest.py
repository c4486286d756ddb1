# SPDX-License-Identifier: GPL-3.0-or-later
"""Before any test imports diffusers, transformers or peft: see torchvision_shim."""

from idto3d.torchvision_shim import prepare_torchvision

prepare_torchvision()
