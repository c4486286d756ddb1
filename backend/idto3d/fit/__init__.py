# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs to a head: camera, identity, expression and light of each, and whether to believe them."""
