# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles to Blender's objects, tools for these, and export to other programs."""
