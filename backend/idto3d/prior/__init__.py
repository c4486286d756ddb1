# SPDX-License-Identifier: GPL-3.0-or-later
"""The 2D diffusion priors and the packs that hold them."""
