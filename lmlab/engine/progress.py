"""What a run shows while it trains: a bar on a terminal, plain lines elsewhere; all of it on standard error.

Nothing here ever writes a carriage return or a colour into a file: the stream itself is asked whether it is a
terminal, not the environment.
"""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TextIO

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task
from rich.progress import Progress as Bar
from rich.table import Column, Table
from rich.text import Text

from lmlab.formatting import duration, figure, short_number

MIN_BAR = 12  # columns that the bar keeps on a narrow terminal


class Remaining:
    """Seconds left, from the pace of this session alone.

    The first update only sets the clock: what came before it, compilation or the steps of the run that is
    resumed, says nothing about the pace. Later ones are averaged with weights that halve every `half_life`
    seconds: early on that is the plain average, pauses for evaluation included; later it follows the machine.
    """

    def __init__(self, half_life: float = 120.0):
        self.half_life = half_life
        self.time: float | None = None  # of the last update
        self.fraction = 0.0
        self._seconds = 0.0  # decayed sums since the first update
        self._progress = 0.0

    def update(self, fraction: float, now: float) -> None:
        """Tell that `fraction` of the budget, in [0, 1], is done at time `now` (seconds)."""
        if self.time is not None and fraction > self.fraction:
            decay = 0.5 ** ((now - self.time) / self.half_life)
            self._seconds = self._seconds * decay + now - self.time
            self._progress = self._progress * decay + fraction - self.fraction
        elif self.time is not None and fraction < 1:
            return  # no progress: its time counts with the next that there is
        self.time, self.fraction = now, fraction

    def seconds(self, now: float) -> float | None:
        """Seconds from `now` to the end; None until there is a pace."""
        if self.fraction >= 1:
            return 0.0
        if not self._progress or self.time is None:
            return None
        return max(0.0, (1 - self.fraction) * self._seconds / self._progress - (now - self.time))


class Progress:
    """The progress of one run, as a context manager.

        with Progress(write_log=run.write_log) as progress:
            progress.start(total_steps=2000, initial_step=400)
            progress.step(401, loss=4.31, lr=1e-3, tokens_per_second=31_000)

    Args:
        log_every: steps between two plain lines.
        write_log: called with each plain line, whatever is shown on the screen.
        stream: where to show it; standard error by default.
        clock: seconds that never go back; tests bring their own.
    """

    def __init__(
        self,
        log_every: int = 10,
        write_log: Callable[[str], None] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.log_every = max(1, log_every)
        self.write_log = write_log
        self.clock = clock
        self.stream = stream or sys.stderr
        self.console = _console(self.stream)
        self.live = is_terminal(self.stream)
        self._bar: Bar | None = None
        self._figures: dict[str, float] = {}
        self._remaining = Remaining()
        self._total: int | None = None
        self._budget_seconds: float | None = None
        self._step = 0
        self._first = 0
        self._phase: str | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self._bar:
            self._bar.stop()

    def start(self, total_steps: int | None = None, max_minutes: float | None = None, initial_step: int = 0) -> None:
        """Show the bar. Budgets that are None do not count; `initial_step` is where a resumed run goes on."""
        self._total, self._step, self._first = total_steps, initial_step, initial_step
        self._budget_seconds = 60 * max_minutes if max_minutes else None
        self._remaining, self._started, self._figures = Remaining(), self.clock(), {}
        if self.live:
            self._bar = Bar(
                SpinnerColumn("dots", finished_text=" "),
                BarColumn(bar_width=None),
                _Figures(self),
                console=self.console,
                expand=True,
                redirect_stdout=sys.stdout.isatty(),  # else what is piped on would end up on the screen
            )
            self._row = self._bar.add_task("", total=1.0, completed=self._fraction(None))
            self._bar.start()

    def step(
        self,
        step: int,
        loss: float | None = None,
        lr: float | None = None,
        tokens_per_second: float | None = None,
        fraction: float | None = None,
        **figures: float | None,
    ) -> None:
        """Tell that `step` steps are done. What is None keeps its last value: no need to read every loss.

        `fraction` is the share of the budget that is done, in [0, 1], for budgets that are not seen from here
        (tokens, minutes over several sessions); by default it follows from the steps and the minutes.
        """
        self._phase = None
        self._step = step
        seen = {"loss": loss, "lr": lr, **figures, "tokens_per_second": tokens_per_second}
        self._figures |= {name: value for name, value in seen.items() if value is not None}
        done = self._fraction(fraction)
        self._remaining.update(done, self.clock())
        if self._bar:
            self._bar.update(self._row, completed=done)
        if step % self.log_every == 0 or step == self._first + 1 or done >= 1:
            self._line(self._plain(done), shown=not self.live)

    def evaluation(self, metrics: Mapping[str, float], step: int | None = None, split: str = "validation") -> None:
        """Show the figures of an evaluation, on a line that stays."""
        figures = "  ".join(f"{name} {figure(value)}" for name, value in metrics.items())
        self._phase = None
        self._line(f"step {self._step if step is None else step}  {split}  {figures}", shown=True)

    def message(self, text: str) -> None:
        """Show a line that stays."""
        self._line(text, shown=True)

    def phase(self, text: str) -> None:
        """Say what takes its time now ("evaluating", "saving"), until the next step; on a terminal only."""
        self._phase = text

    def _line(self, text: str, shown: bool) -> None:
        if shown and self.live:
            self.console.print(Text(text), soft_wrap=True)
        elif shown:
            print(text, file=self.stream, flush=True)
        if self.write_log:
            self.write_log(text)

    def _fraction(self, given: float | None) -> float:
        if given is not None:
            return min(1.0, max(0.0, given))
        by_steps = self._step / self._total if self._total else 0.0
        by_time = (self.clock() - self._started) / self._budget_seconds if self._budget_seconds else 0.0
        return min(1.0, max(by_steps, by_time))

    def _plain(self, done: float) -> str:
        return "  ".join([f"step {self._step_text()} ({done:.0%})", *self._parts().values()])

    def _step_text(self) -> str:
        counted = self._total and not self._budget_seconds  # minutes decide how many steps there will be
        return f"{self._step}/{self._total}" if counted else f"{self._step}"

    def _parts(self) -> dict[str, str]:
        """The figures as texts, in the order in which they stand."""
        known = dict(self._figures)
        rate = known.pop("tokens_per_second", None)
        parts = {name: f"{name} {figure(value)}" for name, value in known.items()}
        if rate is not None:
            parts["tokens_per_second"] = f"{short_number(rate)} tokens/s"
        left = self._remaining.seconds(self.clock())
        if left != 0:
            parts["eta"] = "ETA -" if left is None else f"ETA {duration(left)}"
        return parts


class _Figures(ProgressColumn):
    """The figures beside the bar: as many as the terminal has room for, the least needed left out first."""

    DROPPED_FIRST = ("lr", "tokens_per_second", "eta", "loss")

    def __init__(self, progress: Progress):
        super().__init__(table_column=Column(no_wrap=True))  # the bar gives way, not the figures
        self.progress = progress

    def render(self, task: Task) -> Text:
        parts = {"step": f"step {self.progress._step_text()}"} | self.progress._parts()
        if self.progress._phase:
            parts["eta"] = self.progress._phase
        further = [name for name in parts if name not in ("step", *self.DROPPED_FIRST)]
        room = self.progress.console.width - MIN_BAR - 4
        for name in (*reversed(further), *self.DROPPED_FIRST):
            if len("  ".join(parts.values())) > room:
                parts.pop(name, None)
        return Text("  ".join(parts.values()), no_wrap=True, overflow="ellipsis")


def final_panel(
    title: str,
    rows: Mapping[str, object],
    next_command: str | None = None,
    write_log: Callable[[str], None] | None = None,
    stream: TextIO | None = None,
) -> None:
    """What a run ends with: its figures in a short panel, and below it, free to be copied, the next command.

    Args:
        title: what ended, for example "bert · mlm: finished".
        rows: name -> value, in order; floats are rounded, all else is shown as it is.
        next_command: a whole command line.
        write_log: called with the same as plain text.
        stream: where to show it; standard error by default.
    """
    stream = stream or sys.stderr
    texts = {name: figure(value) if isinstance(value, float) else str(value) for name, value in rows.items()}
    width = max(map(len, texts), default=0)
    plain = [title, *(f"  {name:<{width}}  {value}" for name, value in texts.items())]
    plain += ["Next:", next_command] if next_command else []
    if is_terminal(stream):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in texts.items():
            grid.add_row(name, Text(value))
        console = _console(stream)
        console.print(Panel(grid, title=Text(title, style="bold"), title_align="left", expand=False))
        if next_command:
            console.print("Next:", style="dim")
            console.print(Text(next_command, style="bold"), soft_wrap=True)
    else:
        print("\n".join(plain), file=stream, flush=True)
    if write_log:
        write_log("\n".join(plain))


def is_terminal(stream: TextIO) -> bool:
    """Can a bar be drawn on this stream? FORCE_COLOR and the like must not put bars into files: not asked."""
    with suppress(AttributeError, ValueError):
        return stream.isatty() and not _console(stream).is_dumb_terminal
    return False


def _console(stream: TextIO) -> Console:
    return Console(file=stream, force_jupyter=False, highlight=False)
