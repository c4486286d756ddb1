# SPDX-License-Identifier: GPL-3.0-or-later
"""A head over the photos that it was made from, and the pins by which it is mended."""
