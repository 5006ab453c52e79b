"""Device and number format: where training runs, and bf16 weights beside their fp32 masters."""

import ctypes
import sys
import time
from contextlib import suppress

import torch
from torch import Tensor, nn

from lmlab.errors import UserError


def choose_device(device: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises UserError when the device that was asked for is missing."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[device]:
        there = [name for name, is_there in available.items() if is_there]
        raise UserError(f"trainer.device={device}: this machine has none; it has {', '.join(there)} (or say auto)")
    return torch.device(device)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` takes bf16 where the device multiplies it faster: known of a GPU, measured on a CPU (about 15 ms)."""
    if precision == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
        return torch.bfloat16 if device.type == "cpu" and _bf16_speedup() > 1.5 else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def _bf16_speedup(size: int = 384, rounds: int = 12) -> float:
    """How many times faster the CPU multiplies bf16 matrices than fp32 ones.

    The formats take turns and the best of each counts, so that other work on the machine does not decide.
    """
    matrices = {dtype: torch.ones(size, size, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    seconds = dict.fromkeys(matrices, float("inf"))
    for _ in range(rounds):
        for dtype, matrix in matrices.items():
            start = time.perf_counter()
            matrix @ matrix
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    return seconds[torch.float32] / seconds[torch.bfloat16]


class Weights:
    """The weights of a module as the optimizer and the checkpoints see them: always fp32.

    In fp32 they are the module's own. In bf16 the module computes with a bf16 copy, while masters in fp32 take the
    updates, which are mostly too small for bf16 (Micikevicius et al. 2017, arXiv:1710.03740). Gradients of several
    micro-batches are summed in fp32.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype):
        self.module = module
        named = dict(module.named_parameters())  # a tied weight once, under its first name
        self.masters = named
        self.separate = dtype != torch.float32
        if self.separate:
            copies = {name: p.detach().float().clone() for name, p in named.items()}
            self.masters = {name: nn.Parameter(copy, named[name].requires_grad) for name, copy in copies.items()}
            module.to(dtype)
        self._pairs = [(self.masters[name], p) for name, p in named.items() if p.requires_grad]

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The fp32 weights that move."""
        return [master for master, _ in self._pairs]

    @torch.no_grad()
    def absorb_gradients(self) -> None:
        """Add the gradients of one backward pass to those of the masters."""
        if not self.separate:
            return
        fresh = [(master, p) for master, p in self._pairs if p.grad is not None and master.grad is None]
        for master, _ in fresh:
            master.grad = torch.empty_like(master)
        known = {id(master) for master, _ in fresh}
        older = [(m, p) for m, p in self._pairs if p.grad is not None and id(m) not in known]
        if fresh:
            torch._foreach_copy_([m.grad for m, _ in fresh], [p.grad for _, p in fresh])
        for master, p in older:
            master.grad += p.grad
        for _, p in self._pairs:
            p.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """After an update of the masters: hand them to the module."""
        for master, _ in self._pairs:
            master.grad = None
        if self.separate:
            torch._foreach_copy_([p for _, p in self._pairs], [master for master, _ in self._pairs])

    def state_dict(self) -> dict[str, Tensor]:
        """Every weight in fp32 by its name, a tied one once, and the buffers."""
        return {name: master.detach() for name, master in self.masters.items()} | dict(self.module.named_buffers())

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` gave."""
        for name, target in (self.masters | dict(self.module.named_buffers())).items():
            target.copy_(state[name])
        if self.separate:
            for name, p in self.module.named_parameters():
                p.copy_(self.masters[name])


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks, where it is the C library.

    It returns them to the system at once otherwise, and every step pays again for touching fresh pages: about a tenth
    of the time of a small model on a CPU.
    """
    if sys.platform == "linux":
        m_trim_threshold, m_mmap_threshold = -1, -3
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(m_mmap_threshold, 1 << 30)
            libc.mallopt(m_trim_threshold, (1 << 31) - 1)
