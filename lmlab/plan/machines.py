"""How fast a machine multiplies matrices: this one, measured, and others by what their makers say."""

import hashlib
import json
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from lmlab.files import atomic_write

SECONDS = 1.0  # of measuring
CPU_SIZE, ACCELERATOR_SIZE = 1024, 8192  # rows and columns of the matrices; large enough to be near the ceiling
ACCELERATOR_DTYPE = torch.bfloat16  # what accelerators compute in


@dataclass(frozen=True)
class Accelerator:
    """One device.

    Attributes:
        flops: dense matrix products in bf16 or fp16, per second at most.
        memory: bytes.
    """

    flops: float
    memory: float


def measured_rate(device: torch.device, dtype: torch.dtype, cache_dir: Path, anew: bool = False) -> float:
    """FLOP/s of matrix products on this machine: measured for a second, and then remembered.

    Args:
        device, dtype: what multiplies, and which numbers.
        cache_dir: the file is `rates/<hash>.json` in it: one for every machine, device, number format, number of
            threads and version of torch.
        anew: whether to measure again.
    """
    facts = {
        "machine": platform.node(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "dtype": str(dtype),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    path = cache_dir / "rates" / f"{key}.json"
    if not anew:
        with suppress(OSError):  # not measured yet
            return json.loads(path.read_text())["flops"]
    facts["flops"] = _measure(device, dtype)
    with suppress(OSError):  # a cache that cannot be written: measured again next time
        atomic_write(path, json.dumps(facts, indent=2))
    return facts["flops"]


def _measure(device: torch.device, dtype: torch.dtype) -> float:
    """The best of the products within a second: what else the machine does slows single ones down."""
    size = CPU_SIZE if device.type == "cpu" else ACCELERATOR_SIZE
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    _seconds(matrix)  # the first one is slower
    end, best = time.perf_counter() + SECONDS, float("inf")
    while time.perf_counter() < end:
        best = min(best, _seconds(matrix))
    return 2 * size**3 / best


def _seconds(matrix: torch.Tensor) -> float:
    """Of one product of a matrix with itself; reading a number of the result waits for it."""
    start = time.perf_counter()
    (matrix @ matrix)[0, 0].item()
    return time.perf_counter() - start
