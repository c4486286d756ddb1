# SPDX-License-Identifier: GPL-3.0-or-later
"""Score distillation: what no photograph shows, imagined by the priors."""
