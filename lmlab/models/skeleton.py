"""Modules without weights: shapes alone, at once, whatever their size."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

KEPT = {"requires_grad_"}  # of what is done in place, the only thing that concerns no content


class _NothingInPlace(TorchFunctionMode):
    """Leaves out what would only change the content of a tensor, such as drawing initial weights.

    On the meta device there is no content, but torch imports its compiler to change it: that takes most of a second.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and name not in KEPT:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def without_weights() -> Iterator[None]:
    """Modules that are made inside have parameters on the meta device, and take no memory and hardly any time.

    No garbage is collected meanwhile: of a deep network it takes twice as long to look for some as to build it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with torch.device("meta"), _NothingInPlace():
            yield
    finally:
        if was_enabled:
            gc.enable()
