# SPDX-License-Identifier: GPL-3.0-or-later
"""What photographs add to the networks' guess: `fit` its shape, `overlay` each picture in register, `detail` its
colours."""
