# SPDX-License-Identifier: GPL-3.0-or-later
"""A smooth map over the hood through values known at some of its places."""

import cv2
import numpy as np
from scipy.sparse import coo_array, csc_array, diags_array, eye_array
from scipy.sparse.linalg import splu

from ..arrays import Array
from .hood import Hood

TURNS = 72  # cells around
STEP = 0.008  # metres of a cell down
_STEEPEST = 30.0  # cells near the crown are narrow: how much more neighbours around may weigh than those below


class SmoothMap:
    """Cells of equal steps in turn and down, and their Laplacian."""

    def __init__(self, hood: Hood) -> None:
        self.hood = hood
        self._rows = int(np.ceil(hood.reach / STEP))
        cell = np.arange(self._rows * TURNS).reshape(self._rows, TURNS)
        down = (np.arange(self._rows) + 0.5) * STEP
        level = hood.skull * np.sin(np.minimum(down, hood.equator) / hood.skull)
        around = np.minimum((STEP * TURNS / (2 * np.pi * level)) ** 2, _STEEPEST)
        half = TURNS // 2
        first = np.concatenate([cell.ravel(), cell[:-1].ravel(), cell[0, :half]])  # around, down, across the crown
        second = np.concatenate([np.roll(cell, -1, 1).ravel(), cell[1:].ravel(), cell[0, half:]])
        weight = np.concatenate([np.repeat(around, TURNS), np.ones(cell[1:].size + half)])
        count = cell.size
        graph = coo_array(
            (np.tile(weight, 2), (np.concatenate([first, second]), np.concatenate([second, first]))),
            shape=(count, count),
        ).tocsr()
        self._laplacian = diags_array(np.asarray(graph.sum(1)).ravel()) - graph
        self._square = self._laplacian @ self._laplacian

    def __call__(
        self, turn: Array, down: Array, value: Array, weight: Array, stiffness: tuple[float, float], prior: float
    ) -> Array:
        """The map (side,side) that minimises sum of (map - value)^2 over known cells + stiffness[0] of the membrane's
        energy + stiffness[1] of the thin plate's; weakly, `prior` where nothing is near.

        turn, down, value, weight (K,): what is known. Values in one cell are averaged by weight.
        """
        row = np.clip((down / STEP).astype(int), 0, self._rows - 1)
        cell = row * TURNS + ((turn + np.pi) / (2 * np.pi) * TURNS).astype(int) % TURNS
        count = self._rows * TURNS
        total = np.bincount(cell, weight, count)
        mean = np.bincount(cell, weight * value, count) / np.maximum(total, 1e-9)
        known = np.minimum(total, 1.0)
        faint = 1e-3 * stiffness[0] / (STEP / self.hood.skull)
        matrix = (
            diags_array(known) + stiffness[0] * self._laplacian + stiffness[1] * self._square + faint * eye_array(count)
        )
        factors = splu(
            csc_array(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        solved = factors.solve(known * mean + faint * prior).reshape(self._rows, TURNS).astype(np.float32)
        wrapped = np.concatenate([solved[:, -1:], solved, solved[:, :1]], 1)
        turns, downs = self.hood.map_coordinates()
        columns = ((turns + np.pi) / (2 * np.pi) * TURNS + 0.5).astype(np.float32)
        rows = (downs / STEP - 0.5).astype(np.float32)
        return cv2.remap(wrapped, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
