# SPDX-License-Identifier: GPL-3.0-or-later
"""A captured face onto a head: load or ask for a take, treat it, bake it."""
