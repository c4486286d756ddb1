# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the backend: its environment, its processes, the queue of jobs."""
