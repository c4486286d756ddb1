# SPDX-License-Identifier: GPL-3.0-or-later
"""What the photographs say of a head: camera, identity, expression, light, and the skin's own colours."""
