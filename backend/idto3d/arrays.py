# SPDX-License-Identifier: GPL-3.0-or-later
"""The type of NumPy arrays in annotations; shapes, units and dtypes are in the docstrings."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
