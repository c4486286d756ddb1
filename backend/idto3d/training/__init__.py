# SPDX-License-Identifier: GPL-3.0-or-later
"""How a pack is made; not part of the extension."""
