"""Windows that slide over a text too long to be read at once (Devlin et al. 2018)."""

from collections.abc import Sequence

import numpy as np

from lmlab.errors import UserError


def check_stride(doc_stride: int | None, room: int) -> None:
    """Raise a UserError when windows that may show as few as `room` tokens would leave some of the text out."""
    if doc_stride is not None and not 1 <= doc_stride <= room:
        raise UserError(
            f"formulation.doc_stride={doc_stride} is the step between windows, and one may show as few as {room}"
            f" tokens of the text: a larger step would skip some. Take 1 to {room}, or null for half a window"
        )


def cut_windows(length: int, room: int, doc_stride: int | None) -> list[tuple[int, int]]:
    """[begin, end) of windows of `room` tokens, the last one reaching the end of the text.

    Args:
        doc_stride: tokens from one window's start to the next's (google's meaning: the step, not the overlap); None:
            half a window.
    """
    step = doc_stride or max(1, room // 2)
    windows = [(0, min(room, length))]
    while windows[-1][1] < length:
        begin = windows[-1][0] + step
        windows.append((begin, min(begin + room, length)))
    return windows


def most_context(length: int, windows: Sequence[tuple[int, int]]) -> np.ndarray:
    """(length,): begin of the window where each token has most context on its poorer side (google's rule)."""
    best, begins = np.full(length, -np.inf), np.zeros(length, dtype=np.int64)
    for begin, end in windows:
        places = np.arange(begin, end)
        context = np.minimum(places - begin, end - 1 - places) + 0.01 * (end - begin)
        better = context > best[begin:end]
        best[begin:end][better] = context[better]
        begins[begin:end][better] = begin
    return begins
