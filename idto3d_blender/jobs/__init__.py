# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend beside Blender: its environment, its processes, the queue."""
