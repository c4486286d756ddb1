# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backend and the add-on both need: numpy and the standard library only, for Blender's Python has no more."""
