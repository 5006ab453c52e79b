"""What a run shows: an honest ETA, plain lines in files, a bar on terminals."""

import io
import os
import pty
import re
import threading
from contextlib import suppress

import pytest

from lmlab.engine.progress import Progress, Remaining, final_panel
from lmlab.formatting import duration, figure, short_number


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self):
        return self.now


def test_the_eta_is_right_from_the_second_step_also_after_a_resume():
    remaining = Remaining()
    remaining.update(0.501, now=60.0)  # the first step of the session, a minute of compilation included
    assert remaining.seconds(60.0) is None
    remaining.update(0.502, now=60.5)
    assert remaining.seconds(60.5) == pytest.approx(0.498 / 0.001 * 0.5)
    for step in range(3, 500):
        remaining.update(0.5 + step / 1000, now=60 + (step - 1) / 2)
        assert remaining.seconds(60 + (step - 1) / 2) == pytest.approx((500 - step) / 2)
    remaining.update(1.0, now=400.0)
    assert remaining.seconds(400.0) == 0


def test_the_eta_follows_a_machine_that_slows_down_and_forgives_a_pause():
    remaining = Remaining(half_life=120)
    now = 0.0
    for step in range(1, 1001):
        now += 0.1 if step <= 500 else 1.0
        remaining.update(step / 2000, now)
    assert remaining.seconds(now) == pytest.approx(1000, rel=0.15)
    before = remaining.seconds(now)
    remaining.update(1001 / 2000, now + 10)  # an evaluation
    assert remaining.seconds(now + 10) == pytest.approx(before, rel=0.1)


def test_a_budget_of_minutes_counts_down():
    clock, stream = Clock(), io.StringIO()
    with Progress(log_every=1, stream=stream, clock=clock) as progress:
        progress.start(total_steps=1_000_000, max_minutes=2)
        for step in range(1, 5):
            clock.now += 2.0 if step == 3 else 10.0
            progress.step(step, loss=2.0)
    assert "step 4 (27%)  loss 2.000  ETA 1:28" in stream.getvalue()


def test_files_get_plain_lines_and_the_log_the_same(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    clock, stream, log = Clock(), io.StringIO(), []
    with Progress(log_every=10, stream=stream, clock=clock, write_log=log.append) as progress:
        progress.message("a [MASK] in the text")
        progress.start(total_steps=120, initial_step=100)
        for step in range(101, 121):
            clock.now += 1
            progress.step(step, loss=4.0, lr=5e-5, tokens_per_second=31_234)
        progress.evaluation({"loss": 3.9, "perplexity": 49.4})
    final_panel("bert: finished", {"loss": 3.9}, "lmlab fill 'a [MASK]'", log.append, stream)
    text = stream.getvalue()
    assert "\r" not in text and "\x1b" not in text
    assert text.splitlines() == "\n".join(log).splitlines()
    assert text.splitlines()[:5] == [
        "a [MASK] in the text",
        "step 101/120 (84%)  loss 4.000  lr 5.0e-05  31.2k tokens/s  ETA -",
        "step 110/120 (92%)  loss 4.000  lr 5.0e-05  31.2k tokens/s  ETA 0:10",
        "step 120/120 (100%)  loss 4.000  lr 5.0e-05  31.2k tokens/s",
        "step 120  validation  loss 3.900  perplexity 49.40",
    ]
    assert text.splitlines()[-1] == "lmlab fill 'a [MASK]'"


def drain(terminal, chunks):
    """Read until the other end is closed, which Linux reports as an error."""
    with suppress(OSError):
        while chunk := os.read(terminal, 4096):
            chunks.append(chunk)


@pytest.mark.parametrize("width", [30, 80, 120])
def test_a_terminal_gets_a_bar_that_fits_and_a_command_to_copy(width, monkeypatch):
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    shown, terminal = pty.openpty()
    chunks = []
    reader = threading.Thread(target=drain, args=(shown, chunks))
    reader.start()
    command = "lmlab fill 'Return a new [MASK] object.' " + "run=" + "x" * 200
    with os.fdopen(terminal, "w") as stream:
        clock = Clock()
        with Progress(stream=stream, clock=clock) as progress:
            progress.start(total_steps=1000)
            for step in (1, 2):
                clock.now += 1
                progress.step(step, loss=4.0, lr=5e-5, tokens_per_second=31_234)
        final_panel("bert: finished", {"blank": "a [MASK] " * 10}, command, stream=stream)
    reader.join()
    os.close(shown)
    text = b"".join(chunks).decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")
    bar = next(line for line in reversed(plain) if "step 2/1000" in line)
    assert len(bar) <= width and "…" not in bar and "━" in bar
    assert width < 80 or "loss 4.000  lr 5.0e-05  31.2k tokens/s  ETA 16:38" in bar
    assert command in plain


def test_figures_are_short():
    assert [figure(value) for value in (4.31234, 0.84372, 9.2e-4, 1234.5, 0.0, float("nan"), None)] == [
        "4.312", "0.8437", "9.2e-04", "1,234", "0", "nan", "-",
    ]  # fmt: skip
    assert [short_number(value) for value in (950, 999.9, 31_234, 4_200_000, 11e9)] == [
        "950", "1.0k", "31.2k", "4.2M", "11.0B",
    ]  # fmt: skip
    assert [duration(value) for value in (7.2, 200, 3725, 97_800)] == ["0:07", "3:20", "1:02:05", "1d 03:10"]
