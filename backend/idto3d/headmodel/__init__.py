# SPDX-License-Identifier: GPL-3.0-or-later
"""A head model is data: topology, parts, UV, identity and expressions, in one file of the pack."""

from .model import HeadModel, Material, load_head_model, save_head_model

__all__ = ["HeadModel", "Material", "load_head_model", "save_head_model"]
