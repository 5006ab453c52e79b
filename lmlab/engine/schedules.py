"""Learning-rate schedules: the share of the peak at a step of the run."""

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """A linear warm-up, then what a subclass says.

    Args:
        warmup_steps: steps in which the rate rises from 0 to the peak; below 1, a share of the whole run.
    """

    def __init__(self, warmup_steps: float = 0.06):
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps={warmup_steps} must not be negative")
        self.warmup_steps = warmup_steps

    def factor(self, step: int, total_steps: int) -> float:
        """Share of the peak learning rate at `step`, counted from 0, of a run of `total_steps`."""
        warmup = self.warmup(total_steps)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return self.after_warmup(step, warmup, total_steps)

    def warmup(self, total_steps: int) -> int:
        """Steps of the warm-up in a run of `total_steps`."""
        return round(self.warmup_steps * total_steps) if self.warmup_steps < 1 else int(self.warmup_steps)

    @abstractmethod
    def after_warmup(self, step: int, warmup: int, total_steps: int) -> float: ...


class Constant(Schedule):
    """The peak, to the end."""

    def after_warmup(self, step: int, warmup: int, total_steps: int) -> float:
        return 1.0


class _Falling(Schedule):
    """From the peak to `final_ratio` of it at the last step."""

    def __init__(self, warmup_steps: float = 0.06, final_ratio: float = 0.0):
        super().__init__(warmup_steps)
        if not 0 <= final_ratio <= 1:
            raise ValueError(f"final_ratio={final_ratio} must lie in [0, 1]")
        self.final_ratio = final_ratio

    def after_warmup(self, step: int, warmup: int, total_steps: int) -> float:
        done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        return self.final_ratio + (1 - self.final_ratio) * self.fall(done)

    @abstractmethod
    def fall(self, done: float) -> float:
        """From 1 at `done` = 0 to 0 at `done` = 1."""


class Linear(_Falling):
    """A straight line down (BERT)."""

    def fall(self, done: float) -> float:
        return 1 - done


class Cosine(_Falling):
    """Half a cosine down (GPT; Loshchilov and Hutter 2016, arXiv:1608.03983)."""

    def fall(self, done: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * done))


class InverseSqrt(Schedule):
    """The peak for `warmup_steps`, then falling as 1 / sqrt(step): T5's rule, which does not know the end.

    With `rising: true` the first steps rise linearly instead (Vaswani et al. 2017, section 5.3).
    """

    def __init__(self, warmup_steps: float = 0.06, rising: bool = False):
        super().__init__(warmup_steps)
        self.rising = rising

    def factor(self, step: int, total_steps: int) -> float:
        if self.rising or step >= self.warmup(total_steps):
            return super().factor(step, total_steps)
        return 1.0

    def after_warmup(self, step: int, warmup: int, total_steps: int) -> float:
        return math.sqrt(max(1, warmup) / (step + 1)) if step + 1 > warmup else 1.0
