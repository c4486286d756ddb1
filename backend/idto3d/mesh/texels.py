# SPDX-License-Identifier: GPL-3.0-or-later
"""The texels of a map: the point of the surface at each texel's centre."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from scipy.ndimage import distance_transform_edt

from ..arrays import Array


@dataclass(frozen=True, eq=False)
class Texels:
    """The covered texels of a size x size map. index (N,) flat, row 0 at the top; triangle (N,): of those rasterised;
    corners (N,3) vertices of the mesh; weights (N,3) barycentric, float32."""

    size: int
    index: Array
    triangle: Array
    corners: Array
    weights: Array

    def only(self, rows: Array) -> "Texels":
        """Those of some rows, (M,) of them or (N,) bool."""
        return Texels(self.size, self.index[rows], self.triangle[rows], self.corners[rows], self.weights[rows])

    def at(self, values: Array) -> Array:
        """Vertex values (V,C) at the texels (N,C), float32."""
        return _interpolate(np.ascontiguousarray(values, np.float32), self.corners, self.weights)

    def at_mirrored(self, values: Array, mirror: Array) -> Array:
        """The same at the mirrored point; mirror (V,): the vertex on the other side."""
        return _interpolate(np.ascontiguousarray(values, np.float32), mirror[self.corners], self.weights)

    def image(self, values: Array, fill: float = 0.0) -> Array:
        """Texel values (N,C) or (N,) as an image (S,S[,C]) with `fill` elsewhere."""
        out = np.full((self.size * self.size, *values.shape[1:]), fill, values.dtype)
        out[self.index] = values
        return out.reshape(self.size, self.size, *values.shape[1:])

    def of_image(self, image: Array) -> Array:
        """The texels (N,C) or (N,) of an image (S,S[,C])."""
        return image.reshape(self.size * self.size, *image.shape[2:])[self.index]

    @cached_property
    def nearest(self) -> Array:
        """(S S,) the flat index of the nearest covered texel."""
        covered = self.image(np.ones(len(self.index), bool))
        rows, columns = distance_transform_edt(~covered, return_distances=False, return_indices=True)
        rows *= self.size
        rows += columns
        return np.array(rows.ravel())

    def padded(self, image: Array) -> Array:
        """A copy of image (S,S[,C]) whose empty texels take the nearest covered one's value, so that filtering does not
        mix background in at the seams."""
        out = np.array(image, order="C")
        _pad(out.reshape(len(self.nearest), -1), self.nearest)
        return out

    def spread(self, values: Array) -> Array:
        """Texel values (N,C) or (N,) as an image (S,S[,C]), padded."""
        out = self.image(values)
        _pad(out.reshape(len(self.nearest), -1), self.nearest)
        return out


def make_texels(uv: Array, triangles_uv: Array, triangles: Array, size: int) -> Texels:
    """uv (N,2) 0..1, v up; triangles_uv and triangles (F,3) the corners in uv and in the mesh. Where triangles overlap
    the first one wins."""
    # Weights are computed in a second pass, of the covered texels only, to save memory.
    shape = np.asarray(uv, np.float64), np.asarray(triangles_uv, np.int64), size
    rows = _rasterize(*shape)
    index = np.flatnonzero(rows >= 0)
    triangle = rows[index]
    return Texels(size, index, triangle, np.asarray(triangles, np.int32)[triangle], _weights(*shape, index, triangle))


@njit(cache=True, nogil=True)
def _interpolate(values, corners, weights):  # type: ignore[no-untyped-def]
    out = np.empty((corners.shape[0], values.shape[1]), np.float32)
    for n in range(corners.shape[0]):
        for c in range(values.shape[1]):
            out[n, c] = (
                values[corners[n, 0], c] * weights[n, 0]
                + values[corners[n, 1], c] * weights[n, 1]
                + values[corners[n, 2], c] * weights[n, 2]
            )
    return out


@njit(cache=True, nogil=True)
def _pad(image, nearest):  # type: ignore[no-untyped-def]
    for n in range(len(nearest)):
        for c in range(image.shape[1]):
            image[n, c] = image[nearest[n], c]  # in place: a covered texel is its own nearest


@njit(cache=True, nogil=True)
def _corner(uv, place, size):  # type: ignore[no-untyped-def]
    # in units of texels with centres on whole numbers; rows go down while v goes up
    return uv[place, 0] * size - 0.5, (1.0 - uv[place, 1]) * size - 0.5


@njit(cache=True, nogil=True)
def _barycentric(uv, face, size, row, column):  # type: ignore[no-untyped-def]
    (x0, y0), (x1, y1) = _corner(uv, face[0], size), _corner(uv, face[1], size)
    x2, y2 = _corner(uv, face[2], size)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    a = ((x1 - column) * (y2 - row) - (x2 - column) * (y1 - row)) / area
    b = ((x2 - column) * (y0 - row) - (x0 - column) * (y2 - row)) / area
    return a, b, 1.0 - a - b


@njit(cache=True, nogil=True)
def _rasterize(uv, faces, size):  # type: ignore[no-untyped-def]
    out = np.full(size * size, -1, np.int32)
    for f in range(len(faces)):
        (x0, y0), (x1, y1) = _corner(uv, faces[f, 0], size), _corner(uv, faces[f, 1], size)
        x2, y2 = _corner(uv, faces[f, 2], size)
        if (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) == 0.0:
            continue
        left, right = max(0, int(np.ceil(min(x0, x1, x2)))), min(size - 1, int(np.floor(max(x0, x1, x2))))
        top, bottom = max(0, int(np.ceil(min(y0, y1, y2)))), min(size - 1, int(np.floor(max(y0, y1, y2))))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                if out[row * size + column] < 0:
                    a, b, c = _barycentric(uv, faces[f], size, row, column)
                    if a >= 0.0 and b >= 0.0 and c >= 0.0:
                        out[row * size + column] = f
    return out


@njit(cache=True, nogil=True)
def _weights(uv, faces, size, index, triangle):  # type: ignore[no-untyped-def]
    out = np.empty((len(index), 3), np.float32)
    for n in range(len(index)):
        row, column = index[n] // size, index[n] % size
        out[n, 0], out[n, 1], out[n, 2] = _barycentric(uv, faces[triangle[n]], size, row, column)
    return out
