# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle becomes objects of the file, and they become files of other programs."""
