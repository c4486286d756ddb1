# SPDX-License-Identifier: GPL-3.0-or-later
"""What photographs show of a head's surface: its colours without light and folds, its eyes, its hair's colour."""
