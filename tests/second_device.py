# SPDX-License-Identifier: GPL-3.0-or-later
"""A second device without a graphics card: its tensors say that they lie elsewhere (on PyTorch's device "lazy"),
compute on the CPU, and refuse what a GPU's would: operations with the CPU's tensors, NumPy, the CPU's random numbers.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "lazy:0"
aten = torch.ops.aten
_tensor = torch.tensor
_downloaded: list[tuple[int, ...]] = []
_CROSSES = (aten.copy_.default, aten._to_copy.default)
_TAKES_INDICES = ("aten::index", "aten::index_put_", "aten::_index_put_impl_")  # from the CPU, too


class Elsewhere(Tensor):
    """A tensor of the second device; `here`: its values."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        dense = here.layout == torch.strided
        layout: dict[str, Any] = {"strides": here.stride(), "storage_offset": here.storage_offset()} if dense else {}
        out = Tensor._make_wrapper_subclass(cls, here.size(), dtype=here.dtype, device=torch.device(DEVICE), **layout)
        out.here = here
        return out

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert a tensor of another device to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def new_tensor(self, data: Any, **how: Any) -> Tensor:  # type: ignore[override]
        return _made(torch.tensor)(data, **{"dtype": self.dtype, "device": DEVICE, **how})

    def __getitem__(self, rows: Any) -> Tensor:
        """Lists as tensors, which PyTorch would make without asking."""
        each = rows if isinstance(rows, tuple) else (rows,)
        return super().__getitem__(tuple(torch.tensor(r) if isinstance(r, list) else r for r in each))


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _here(value: Any) -> Any:
    return value.here if isinstance(value, Elsewhere) else value


def _is_elsewhere(device: Any) -> bool:
    return device is not None and torch.device(device).type == torch.device(DEVICE).type


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    elsewhere = [t for t in tensors if isinstance(t, Elsewhere)]
    name = func._schema.name
    if elsewhere and func not in _CROSSES:
        indices = tree_leaves(args[1]) if name in _TAKES_INDICES else []
        strangers = [t for t in tensors if not isinstance(t, Elsewhere) and t.ndim and not any(t is i for i in indices)]
        if strangers or (indices and not isinstance(args[0], Elsewhere)):
            raise RuntimeError(f"{name}: tensors on different devices, of shapes {[tuple(t.shape) for t in tensors]}")
    asked = kwargs.get("device")
    if _is_elsewhere(asked):
        if kwargs.get("generator") is not None:
            raise RuntimeError(f"{name}: a generator of another device")
        kwargs = {**kwargs, "device": "cpu"}
    out = func(*tree_map(_here, args), **tree_map(_here, kwargs))
    if func._schema.is_mutable and isinstance(args[0], Tensor):
        return args[0]
    stays = bool(elsewhere) if asked is None else _is_elsewhere(asked)
    if elsewhere and not stays:
        _downloaded.append(tuple(elsewhere[0].shape))
    return tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) else x, out) if stays else out


def _made(make: Any) -> Any:
    """torch.tensor, which does not ask modes either."""

    def made(data: Any, *args: Any, device: Any = None, **how: Any) -> Tensor:
        out: Tensor = make(data, *args, device=None if _is_elsewhere(device) else device, **how)
        return out.to(DEVICE) if _is_elsewhere(device) else out

    return made


@contextlib.contextmanager
def second_device() -> Iterator[list[tuple[int, ...]]]:
    """Within, DEVICE can be used; the shapes of what is copied from there to the CPU."""
    _downloaded.clear()
    with mock.patch.object(torch, "tensor", _made(torch.tensor)), _Mode():
        yield _downloaded


def on_the_cpu(function: Any) -> Any:
    """A function that knows nothing of the second device, such as one that loads a net from files."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes(), mock.patch.object(torch, "tensor", _tensor):
            return function(*tree_map(_here, args), **tree_map(_here, kwargs))

    return call
