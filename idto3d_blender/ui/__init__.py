# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sidebar draws, and the buttons for photos, errors and viewports."""
