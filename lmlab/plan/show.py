"""A plan, and the table of all presets, as tables or as JSON."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmlab.formatting import duration, short_number
from lmlab.plan.estimate import PF_DAY, Machine, Network, Plan, Preset

DAY = 86_400
YEAR = 365.25 * DAY
UNKNOWN = "-"


# --- one plan ---


def show(plan: Plan) -> None:
    """Print a plan on standard output, as wide as the terminal."""
    console = _console()
    network, step = plan.network, plan.step
    words = "  ".join(f"{group}={option}" for group, option in plan.words.items())
    console.print(Text(f"Plan: {words}"), style="bold", soft_wrap=True)
    console.print(
        f"{network.layout}, vocabulary of {'at most ' if network.at_most else ''}{network.vocab_size:,};"
        f" steps of {step.tokens:,} tokens in {step.sequences:,} sequences of {step.seq_len:,},"
        f" {step.micro_sequences:,} at a time",
        soft_wrap=True,
    )
    for table in (_parts(plan), _memory(plan), _machines(plan), *_cost(plan)):
        console.print()
        console.print(table)
    console.print()
    for note in _notes(plan):
        console.print(Text(note), style="dim", soft_wrap=True)


def _parts(plan: Plan) -> Table:
    """Parameters and operations by part, and what is published."""
    network, step = plan.network, plan.step
    flops, published = step.flops, network.published.parameters
    table = _table("", "parameters", "share", "FLOPs a token", "share")
    for name in dict.fromkeys([*network.parameters, *flops.parts]):
        numbers, of_part = network.parameters[name], step.per_token(flops.parts[name])
        shares = _share(numbers, network.total), _share(flops.parts[name], flops.total)
        table.add_row(name, f"{numbers:,}" if numbers else "", shares[0], _short(of_part) if of_part else "", shares[1])
    table.add_row("all", f"{network.total:,}", "", _short(step.flops_per_token), style="bold")
    if network.counted != network.total:
        table.add_row("counted as published", f"{network.counted:,}")
    if published:
        table.add_row("published", short_number(published), _difference(network.difference))
    table.add_row(
        "of all, attention scores", "", "", _short(step.per_token(flops.scores)), _share(flops.scores, flops.total)
    )
    table.add_row(_rule_name(plan), "", "", _short(network.rule_of_thumb(1)))
    table.add_row("a step", "", "", _short(step.flops_per_step))
    return table


def _memory(plan: Plan) -> Table:
    """Of this machine and of an accelerator, were it large enough."""
    table = _table("memory of one device", "weights", "gradients", "optimizer", "activations", "all")
    rows = {plan.here.name: plan.here.memory}
    if plan.accelerators:
        rows["an accelerator: bfloat16"] = plan.accelerators[0].memory
    for name, memory in rows.items():
        table.add_row(name, *(f"{_short(value)}B" for value in (*asdict(memory).values(), memory.total)))
    return table


def _machines(plan: Plan) -> Table:
    """How long this run takes, and one as long as published."""
    headings = (f"{short_number(tokens)} tokens" for tokens in _runs(plan))
    table = _table(f"time, at {plan.utilisation:.0%} of the best speed", "FLOP/s", "devices", *headings)
    for machine in (plan.here, *plan.accelerators):
        times = (_time(plan.seconds(tokens, machine)) for tokens in _runs(plan))
        table.add_row(machine.name, _short(machine.flops), f"{machine.devices:,}", *times)
    return table


def _cost(plan: Plan) -> Iterator[Table]:
    """Of this run, and of the published one; no table where nothing is known of either."""
    table = _table("cost of training", "tokens", "FLOPs", "PF-days")
    for tokens in _runs(plan):
        counted, rule = tokens * plan.step.flops_per_token, plan.network.rule_of_thumb(tokens)
        table.add_row("counted", short_number(tokens), _scientific(counted), _pf_days(counted))
        table.add_row(_rule_name(plan), short_number(tokens), _scientific(rule), _pf_days(rule))
    if (flops := plan.network.published.flops) is not None:
        table.add_row("published", "", _scientific(flops))
    if table.rows:
        yield table


def _runs(plan: Plan) -> list[float]:
    """Tokens of this run, and of the published one, as far as they are known."""
    return list(dict.fromkeys(filter(None, (plan.tokens, plan.network.published.tokens))))


def _rule_name(plan: Plan) -> str:
    """6 N D; of an encoder-decoder 3 N D."""
    return f"{plan.network.per_parameter} N D"


def _notes(plan: Plan) -> list[str]:
    network = plan.network
    notes = [
        "FLOPs are those of matrix products, forward and backward. Devices: as many as hold the memory in equal"
        " shares. Memory: without temporaries."
    ]
    if network.at_most:
        notes.append("Vocabulary: the tokenizer is trained, and may find fewer tokens; vocab_size= says how many.")
    if network.repeated:
        notes.append(f"{_rule_name(plan)}: parameters that several layers share count for each of them.")
    if not _runs(plan):
        notes.append(f"{_endless(network)}; trainer.max_steps= or trainer.max_tokens= says how long the run takes.")
    if network.published.source:
        notes.append(f"Published: {network.published.source}")
    return notes


def _endless(network: Network) -> str:
    """Why nothing is known of the length of the run."""
    if network.published.source:
        return "Budget: not published"
    return "Budget: none of steps, tokens or minutes"


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan in plain values: numbers, bytes, FLOPs and seconds."""
    network, step = plan.network, plan.step
    return {
        **plan.words,
        "layout": network.layout,
        "vocab_size": network.vocab_size,
        "vocab_size_at_most": network.at_most,
        "seq_len": step.seq_len,
        "batch": {"sequences": step.sequences, "tokens": step.tokens, "micro_sequences": step.micro_sequences},
        "parameters": {
            "parts": dict(network.parameters),
            "total": network.total,
            "counted": network.counted,
            "published": network.published.parameters,
            "difference": network.difference,
        },
        "flops": {
            "parts": {name: step.per_token(flops) for name, flops in step.flops.parts.items()},
            "scores": step.per_token(step.flops.scores),
            "per_token": step.flops_per_token,
            "per_step": step.flops_per_step,
            "rule_of_thumb": network.rule_of_thumb(1),
        },
        "utilisation": plan.utilisation,
        "tokens": plan.tokens,
        "machines": [_machine_as_json(plan, each) for each in (plan.here, *plan.accelerators)],
        "training": [_training_as_json(plan, tokens) for tokens in _runs(plan)],
        "published": asdict(network.published),
    }


def _machine_as_json(plan: Plan, machine: Machine) -> dict[str, Any]:
    return {
        "name": machine.name,
        "flops_per_second": machine.flops,
        "devices": machine.devices,
        "memory": {**asdict(machine.memory), "total": machine.memory.total},
        "times": [{"tokens": tokens, "seconds": plan.seconds(tokens, machine)} for tokens in _runs(plan)],
    }


def _training_as_json(plan: Plan, tokens: float) -> dict[str, float]:
    counted, rule = tokens * plan.step.flops_per_token, plan.network.rule_of_thumb(tokens)
    return {
        "tokens": tokens,
        "flops": counted,
        "pf_days": counted / PF_DAY,
        "rule_of_thumb": rule,
        "rule_of_thumb_pf_days": rule / PF_DAY,
    }


# --- all presets ---


def show_presets(presets: Sequence[Preset], left_out: dict[str, str]) -> None:
    """Print the table of all presets."""
    console = _console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("model", "layout", "layers / hidden / heads"):
        table.add_column(heading, no_wrap=True)
    for heading in ("vocabulary", "parameters", "published", "difference", "FLOPs a token", "FLOPs of training"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in presets:
        network, published = each.network, each.network.published
        table.add_row(
            each.name,
            network.layout,
            each.shape,
            f"{network.vocab_size:,}",
            f"{network.counted:,}",
            short_number(published.parameters) if published.parameters else UNKNOWN,
            _difference(network.difference),
            _short(each.step.flops_per_token),
            UNKNOWN if each.training_flops is None else _scientific(each.training_flops),
        )
    console.print(table)
    for name, reason in left_out.items():
        console.print(Text(f"left out: {name} ({reason})", style="dim"), soft_wrap=True)


def presets_as_json(presets: Sequence[Preset], left_out: dict[str, str], drawn: Sequence[Path]) -> dict[str, Any]:
    """The table in plain values."""
    rows = [
        {
            "model": each.name,
            "layout": each.network.layout,
            "shape": each.shape,
            "vocab_size": each.network.vocab_size,
            "parameters": each.network.counted,
            "published": each.network.published.parameters,
            "difference": each.network.difference,
            "flops_per_token": each.step.flops_per_token,
            "training_flops": each.training_flops,
        }
        for each in presets
    ]
    return {"presets": rows, "left_out": left_out, "picture": [str(path) for path in drawn]}


# --- numbers ---


def _console() -> Console:
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, force_jupyter=False, width=160 if wide else None)


def _table(*headings: str) -> Table:
    """The first column has names, the others numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(Text(headings[0], style="bold"), overflow="fold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if part else ""


def _difference(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:+.1f} %"


def _short(value: float) -> str:
    """A count of operations or bytes: 880M, 3.14G, 125T."""
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if value < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}Z" if value < 999.5 else _scientific(1e21 * value)


def _scientific(value: float) -> str:
    """3.14e23."""
    return f"{value:.2e}".replace("e+", "e")


def _pf_days(flops: float) -> str:
    """Three digits: 3,640, 0.0123."""
    days = float(f"{flops / PF_DAY:.3g}")
    return f"{days:,.0f}" if days >= 100 else f"{days:g}"


def _time(seconds: float) -> str:
    """1.5 s, 3:20, 14 days, 320 years."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    if seconds < 3 * DAY:
        return duration(seconds)
    return f"{seconds / DAY:,.0f} days" if seconds < 3 * YEAR else f"{seconds / YEAR:,.0f} years"
