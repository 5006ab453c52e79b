"""The training loop."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lmlab.batch import Batch
from lmlab.engine.checkpoint import Checkpoints
from lmlab.engine.optimizers import Optimizer
from lmlab.engine.precision import Weights, choose_device, choose_dtype, keep_freed_memory
from lmlab.engine.progress import Progress
from lmlab.engine.schedules import Schedule
from lmlab.errors import Diverged, UserError


class Batches(Protocol):
    """Training data: the micro-batches of a step are a pure function of its number."""

    @property
    def steps_per_epoch(self) -> float: ...

    def step(self, step: int) -> list[Batch]: ...


class Record(Protocol):
    """Where figures and messages go; `lmlab.runs.record.RunFolder` is one."""

    checkpoints: Any

    def log(self, step: int, tokens: int, split: str, **metrics: float) -> None: ...

    def write_log(self, text: str) -> None: ...


@dataclass
class Settings:
    """When training stops, and how often it reports, measures and saves; see conf/trainer for each key."""

    max_steps: int | None = None
    max_tokens: int | None = None
    max_minutes: float | None = None
    max_epochs: float | None = None
    max_grad_norm: float | None = 1.0
    log_every: int = 10
    eval_every: int | None = None
    save_every: int | None = None
    keep_checkpoints: int = 2
    best_metric: str = "loss"
    best_mode: str = "auto"
    patience: int | None = None
    precision: str = "auto"
    device: str = "auto"
    compile: bool = False

    @classmethod
    def of(cls, trainer: dict[str, Any]) -> "Settings":
        """Take from the `trainer` node of a config what the loop reads; the rest is about batches."""
        return cls(**{key: value for key, value in trainer.items() if key in cls.__dataclass_fields__})


@dataclass
class State:
    """What, with the weights and the optimizer, a run needs to go on exactly where it stopped.

    Everything that is random is a function of the seed and of these counts.
    """

    step: int = 0
    tokens: int = 0
    predicted_tokens: int = 0
    train_seconds: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    evaluations_without_gain: int = 0


class Trainer:
    """Trains a learner until its budget is spent.

    Args:
        learner: `learner(batch)` gives the summed loss of each term; `batch.counts` what each is divided by.
        batches: the training data.
        optimizer, schedule: the recipes.
        settings: budgets and intervals.
        record: the run folder.
        evaluate: gives the validation metrics by name.
        seed: of the noise in the network (dropout).
        progress: shows what happens.
    """

    def __init__(
        self,
        learner: nn.Module,
        batches: Batches,
        optimizer: Optimizer,
        schedule: Schedule,
        settings: Settings,
        record: Record,
        evaluate: Callable[[], dict[str, float]],
        seed: int,
        progress: Progress | None = None,
    ):
        keep_freed_memory()
        self.settings, self.record, self.evaluate, self.seed = settings, record, evaluate, seed
        self.device = choose_device(settings.device)
        self.dtype = choose_dtype(settings.precision, self.device)
        self.learner, self.batches, self.schedule = learner.to(self.device), batches, schedule
        self.weights = Weights(self.learner, self.dtype)
        self.peak_lr = optimizer.lr
        self.optimizer = optimizer.create(self.weights.trainable)
        self.checkpoints = Checkpoints(record.checkpoints, settings.keep_checkpoints)
        self.progress = progress or Progress(settings.log_every, record.write_log)
        self.state = State()
        self.metrics: dict[str, float] = {}
        self.interrupted = False
        if settings.compile:
            self.learner.model.compile()

    # ---- the loop

    def fit(self) -> dict[str, float]:
        """Train until a budget is reached, the gain ends, or Ctrl-C. Returns the last validation metrics."""
        self.learner.train()
        with self.progress, _ctrl_c(self._interrupt), _ahead(self.batches, self.state.step) as upcoming:
            self.progress.start(self.total_steps, self.settings.max_minutes, self.state.step)
            if self.state.step == 0:
                self._measure()
            self._start_clock()
            while not self.finished and not self.interrupted:
                loss = self._train_step(next(upcoming))
                self._report(loss)
                if self._due(self.settings.eval_every):
                    self._measure()
                if self._due(self.settings.save_every):
                    self._save()
            self._end()
        return self.metrics

    def _train_step(self, micro_batches: list[Batch]) -> Tensor:
        """One update. Returns the loss: the sum over its terms of their mean over the whole accumulated batch."""
        state = self.state
        torch.manual_seed(self.seed * 1_000_003 + state.step)  # dropout is a function of (seed, step) too
        counts = _total_counts(micro_batches)
        step_loss = torch.zeros((), device=self.device)
        for batch in micro_batches:
            terms = self.learner(batch.to(self.device))
            loss = sum(value.float() / max(1, counts[term]) for term, value in terms.items())
            loss.backward()
            self.weights.absorb_gradients()
            step_loss += loss.detach()
        if self.settings.max_grad_norm:
            nn.utils.clip_grad_norm_(self.weights.trainable, self.settings.max_grad_norm)
        self.learning_rate = self.peak_lr * self.schedule.factor(state.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        self.optimizer.step()
        self.weights.publish()
        state.step += 1
        state.tokens += sum(batch.num_tokens for batch in micro_batches)
        state.predicted_tokens += sum(counts.values())
        return step_loss

    # ---- budgets

    @property
    def total_steps(self) -> int:
        """Steps that the budget allows; estimated from the pace so far where it is a budget of time."""
        budgets = [self.settings.max_steps]
        if self.settings.max_epochs is not None:
            budgets.append(math.ceil(self.settings.max_epochs * self.batches.steps_per_epoch))
        if self.settings.max_tokens is not None:
            tokens = self.state.tokens / self.state.step if self.state.step else self._first_tokens
            budgets.append(math.ceil(self.settings.max_tokens / tokens))
        if self.settings.max_minutes is not None and self.state.step:
            spent = max(self._elapsed() / (60 * self.settings.max_minutes), 1e-9)
            budgets.append(math.ceil(self.state.step / spent))
        known = [budget for budget in budgets if budget is not None]
        return max(1, min(known)) if known else 1_000_000

    @property
    def finished(self) -> bool:
        """Whether a budget is spent or, with `patience`, no gain is left."""
        limits, state = self.settings, self.state
        if limits.patience is not None and state.evaluations_without_gain >= limits.patience:
            return True
        if limits.max_minutes is not None and self._elapsed() >= 60 * limits.max_minutes:
            return True
        if limits.max_tokens is not None and state.tokens >= limits.max_tokens:
            return True
        steps = [limits.max_steps]
        if limits.max_epochs is not None:
            steps.append(math.ceil(limits.max_epochs * self.batches.steps_per_epoch))
        return any(limit is not None and state.step >= limit for limit in steps)

    @property
    def _first_tokens(self) -> int:
        return max(1, sum(batch.num_tokens for batch in self.batches.step(0)))

    # ---- measuring, reporting, saving

    def _measure(self) -> None:
        """Evaluate, tell, and note whether it is the best so far."""
        self._stop_clock()
        self.progress.phase("evaluating")
        self.metrics = {name: float(value) for name, value in self.evaluate().items()}
        self.learner.train()
        self._measured_at = self.state.step
        self.record.log(self.state.step, self.state.tokens, "validation", **self.metrics)
        self.progress.evaluation(self.metrics, self.state.step)
        if not math.isfinite(self.metrics.get("loss", 0.0)):
            raise Diverged(self._diverged("validation loss", self.metrics["loss"]))
        if self.settings.best_metric not in self.metrics:
            there = ", ".join(self.metrics)
            raise UserError(f"trainer.best_metric={self.settings.best_metric} is not measured here; there is {there}")
        if self.state.step and self._is_best():
            self._save(best=True)
        self._start_clock()

    def _is_best(self) -> bool:
        name, state = self.settings.best_metric, self.state
        value, mode = self.metrics[name], self.settings.best_mode
        smaller = any(word in name for word in ("loss", "perplexity")) if mode == "auto" else mode == "min"
        sign = 1 if smaller else -1
        if state.best_value is None or sign * value < sign * state.best_value:
            state.best_value, state.best_step, state.evaluations_without_gain = value, state.step, 0
            return True
        state.evaluations_without_gain += 1
        return False

    def _report(self, loss: Tensor) -> None:
        step, every = self.state.step, self.settings.log_every
        first = step == self._first_step + 1
        if step % every and not first:
            self.progress.step(step, fraction=self._fraction())
            return
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(self._diverged("loss", value))
        seconds = self._elapsed() - self._pace_seconds
        rate = (self.state.tokens - self._pace_tokens) / max(seconds, 1e-9)
        if step % every == 0:
            figures = {"loss": value, "learning_rate": self.learning_rate, "tokens_per_second": rate}
            self.record.log(step, self.state.tokens, "train", **figures)
        self.progress.step(step, value, self.learning_rate, rate, self._fraction())
        self._pace_seconds, self._pace_tokens = self._elapsed(), self.state.tokens

    def _diverged(self, what: str, value: float) -> str:
        return (
            f"the {what} is {value} at step {self.state.step}: try a lower optimizer.lr, more schedule.warmup_steps, "
            "or trainer.precision=fp32"
        )

    def _fraction(self) -> float:
        limits, state = self.settings, self.state
        parts = [state.step / self.total_steps]
        if limits.max_minutes is not None:
            parts.append(self._elapsed() / (60 * limits.max_minutes))
        return min(1.0, max(parts))

    def _due(self, every: int | None) -> bool:
        return every is not None and self.state.step % every == 0

    def _save(self, best: bool = False) -> None:
        if self._saved_at == self.state.step:
            if best:
                self.checkpoints.mark_best(self.state.step)
            return
        self._stop_clock()
        self.progress.phase("saving")
        state = {
            "trainer": asdict(self.state),
            "optimizer": self.optimizer.state_dict(),
            "dtype": str(self.dtype),
        }
        self.checkpoints.save(self.state.step, self.weights.state_dict(), state, best)
        self._saved_at = self.state.step
        self._start_clock()

    def _end(self) -> None:
        self._stop_clock()
        if not self.interrupted and (self._measured_at != self.state.step or not self.metrics):
            self._measure()
            self._stop_clock()
        self._save()

    # ---- resuming

    def resume(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if state["dtype"] != str(self.dtype):
            raise UserError(
                f"the run was trained in {state['dtype']} and would go on in {self.dtype}: "
                f"set trainer.precision={'bf16' if 'bfloat16' in state['dtype'] else 'fp32'}"
            )
        self.weights.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])
        self.state = State(**state["trainer"])
        self._saved_at = self._measured_at = self._first_step = self.state.step
        if self.state.best_step == self.state.step:  # the kill may have come before this was written down
            self.checkpoints.mark_best(self.state.step)

    # ---- time: only that of training counts, over all sessions

    _started: float | None = None
    _saved_at = _measured_at = -1
    _first_step = 0
    _pace_seconds = 0.0
    _pace_tokens = 0

    def _start_clock(self) -> None:
        if self._started is None:
            self._started = time.perf_counter()
            self._pace_seconds, self._pace_tokens = self.state.train_seconds, self.state.tokens

    def _stop_clock(self) -> None:
        self.state.train_seconds = self._elapsed()
        self._started = None

    def _elapsed(self) -> float:
        running = time.perf_counter() - self._started if self._started is not None else 0.0
        return self.state.train_seconds + running

    def _interrupt(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self.progress.message("Stopping after this step, with a checkpoint; Ctrl-C again stops at once, without one.")


def _total_counts(micro_batches: list[Batch]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for batch in micro_batches:
        for term, count in batch.counts.items():
            totals[term] = totals.get(term, 0) + count
    return totals


@contextmanager
def _ctrl_c(handle: Callable[[], None]) -> Iterator[None]:
    """Call `handle` on Ctrl-C, and on SIGTERM as schedulers send it, instead of breaking off within a step."""
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        previous = [signal.signal(each, lambda *_: handle()) for each in signals]
    except ValueError:  # not the main thread, which alone may set handlers
        yield
        return
    try:
        yield
    finally:
        for each, old in zip(signals, previous, strict=True):
            signal.signal(each, old)


@contextmanager
def _ahead(batches: Batches, step: int) -> Iterator[Iterator[list[Batch]]]:
    """The micro-batches from `step` on, made in a second thread while the step before is computed."""

    def steps(pool: ThreadPoolExecutor) -> Iterator[list[Batch]]:
        number = step
        waiting = pool.submit(batches.step, number)
        while True:
            ready = waiting.result()
            number += 1
            waiting = pool.submit(batches.step, number)
            yield ready

    with ThreadPoolExecutor(1) as pool:
        try:
            yield steps(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
