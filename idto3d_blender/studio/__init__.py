# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands round a head: lights, cameras, animation, the view, the head while it grows."""
