# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometry of triangle meshes that knows nothing of heads."""
