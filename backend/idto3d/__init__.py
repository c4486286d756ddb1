# SPDX-License-Identifier: GPL-3.0-or-later
"""ID-to-3D: expressive 3D heads from photos by ID-conditioned score distillation (Babiloni et al., NeurIPS 2024)."""

__version__ = "0.2.0"
