# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything off the skin: the tetrahedral grid, its surface, and hair carved from the photographs' masks."""
