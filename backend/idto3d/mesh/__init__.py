# SPDX-License-Identifier: GPL-3.0-or-later
"""What any project with meshes has."""
