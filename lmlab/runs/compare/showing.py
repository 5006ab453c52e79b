"""Tables for people, as wide as their terminal, and for programs."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from lmlab.formatting import duration, figure, short_number
from lmlab.runs.compare.arranging import Table
from lmlab.runs.compare.reading import ABSENT
from lmlab.runs.compare.row import Row
from lmlab.runs.compare.testing import Test, methods
from lmlab.runs.record import plain
from lmlab.runs.statistics import lower_is_better


def render(table: Table, console: Console) -> Group:
    """The table if it fits the console, else without what can be spared, else a paragraph for each run."""
    best = _best(table)
    paragraphs = Group(*(_paragraph(table, row, row is best) for row in table.rows))
    shown = next((grid for grid in _grids(table, best) if _fits(grid, console)), paragraphs)
    return Group(Text(table.title, style="bold"), shown, *_dim(table.notes), *_render_tests(table, console))


def _grids(table: Table, best: Row | None) -> Iterator[Grid]:
    """The table in full, then without what can be spared."""
    if table.is_suite:
        yield _suite_grid(table, best)
        return
    spared = table.metrics[:1] if set(table.metrics) == {"loss", "perplexity"} else table.metrics
    for metrics, brief in ((table.metrics, False), (spared, False), (spared, True)):
        yield _grid(table, metrics, best, brief)


def _fits(grid: Grid, console: Console) -> bool:
    return Measurement.get(console, console.options.update(width=10_000), grid).maximum <= console.width


def _render_tests(table: Table, console: Console) -> list:
    """The tests as a table if it fits the console, else in a sentence each; and why others were not made."""
    told = [test for test in table.tests if test.found]
    refused = _dim(dict.fromkeys(f"{test.row.name}: {test.verdict}" for test in table.tests if not test.found))
    if not told:
        return refused
    grid, head = _test_grid(told), Text(f"\nagainst {told[0].reference.name}", style="bold")
    sentences = [Text(f"{test.row.name}\n  {sentence(test)}\n") for test in told]
    return [head, *([grid] if _fits(grid, console) else sentences), *refused, *_dim(methods(told, table.keys))]


def _test_grid(tests: Sequence[Test]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    several = len({test.metric for test in tests}) > 1
    for name in ("run", *(["metric"] * several)):
        grid.add_column(name, no_wrap=True)
    for name in ("difference" if several else f"{tests[0].metric}, difference", "95 % interval", "p"):
        grid.add_column(name, justify="right", no_wrap=True)
    for name in ("exact test", "seeds", "examples", "verdict"):
        grid.add_column(name, no_wrap=True)
    for test in tests:
        effect, low, high = _effect(test)
        cells = [test.row.name, *([test.metric] * several), effect, f"{low} to {high}", probability(test.p)]
        examples = ABSENT if test.found.examples is None else str(test.found.examples)
        cells += [_exact(test), _paired_seeds(test), examples, test.verdict]
        grid.add_row(*map(Text, cells), style="bold" if test.is_shown else "")
    return grid


def sentence(test: Test) -> str:
    """The verdict with its numbers: better than RUN by 0.013 accuracy (95 % 0.004 to 0.022, p = .004)."""
    if test.found is None:
        return test.verdict
    effect, low, high = _effect(test)
    p = probability(test.p)
    numbers = f"95 % {low} to {high}, p {p if p.startswith('<') else f'= {p}'}"
    numbers += "" if test.found.over_seeds else ", examples only"
    if test.is_shown:
        return f"{test.word} than {test.reference.name} by {effect.lstrip('+-')} {test.metric} ({numbers})"
    return f"{test.verdict} ({test.metric} {effect} against {test.reference.name}, {numbers})"


def probability(p: float) -> str:
    """A probability in few characters: < .001, .042, 1."""
    if p < 0.001:
        return "< .001"
    return "1" if p > 0.9995 else f"{p:.3f}".lstrip("0")


def _effect(test: Test) -> tuple[str, str, str]:
    """The difference and the ends of its interval, with as many decimals as the scores have."""
    example = figure(test.reference.mean(test.metric))
    return tuple(("+" if x > 0 else "") + _like(x, example) for x in (test.found.effect, *test.found.interval))


def _exact(test: Test) -> str:
    """The test that needs no assumptions: how many examples one run alone gets right, or the p of sign flips."""
    exact = test.found.exact
    if exact is None:
        return ABSENT
    if exact["test"] == "McNemar":
        return f"McNemar, {exact['only_first']} : {exact['only_second']}"
    return f"{exact['test']}, p {probability(exact['p'])}"


def _paired_seeds(test: Test) -> str:
    first, second = test.found.seeds
    return f"{len(first)}, paired" if test.found.paired else f"{len(first)} and {len(second)}"


def _dim(notes: Iterable[str]) -> list[Text]:
    return [Text(note, style="dim") for note in notes]


def _grid(table: Table, metrics: list[str], best: Row | None, brief: bool) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    names = _brief_names(table) if brief else {row.name: row.name for row in table.rows}
    status, seeds = _any_unfinished(table), _seeds_matter(table)
    extra = [] if brief else _extra_columns(table)
    keys = short_keys(table.keys)
    for name in ("run", *(["status"] * status), *keys.values()):
        grid.add_column(name, no_wrap=True)
    for name in (*(["seeds"] * seeds), *metrics, *extra, "tokens/s", "time", "parameters"):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in table.rows:
        cells = [names[row.name], *([_mark(row)] * status), *(setting(row, key) for key in keys)]
        cells += [*([_seeds(row)] * seeds), *(_score(row, name) for name in metrics)]
        cells += [*(_extra(row, name, metrics[0]) for name in extra), *_costs(row)]
        grid.add_row(*map(Text, cells), style="dim" if _mark(row) else "bold" if row is best else "")
    return grid


def _suite_grid(table: Table, best: Row | None) -> Grid:
    """A column for each suite, a line for each score."""
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("suite", no_wrap=True)
    for row in table.rows:
        grid.add_column(Text(row.name), justify="right", no_wrap=True, style="bold" if row is best else "")
    lines = {short: [setting(row, key) for row in table.rows] for key, short in short_keys(table.keys).items()}
    lines |= {"seeds": [_seeds(row) for row in table.rows]}
    lines |= {name: [_score(row, name) for row in table.rows] for name in table.metrics}
    for name, cells in lines.items():
        grid.add_row(*map(Text, (name, *cells)))
    return grid


def _extra_columns(table: Table) -> list[str]:
    """What is said of the first metric besides its value, where there is anything to say."""
    several = any(len(row.entries) > 1 for row in table.rows)
    known = any(row.baseline(table.metrics[0]) is not None for row in table.rows)
    return ["best seed"] * several + ["baseline"] * known


def _extra(row: Row, column: str, metric: str) -> str:
    if column == "baseline":
        return figure(row.baseline(metric))
    found = row.statistics(metric)
    return ABSENT if found["std"] is None else f"{figure(found['best'])} ({found['best_seed']})"


def _paragraph(table: Table, row: Row, best: bool) -> Text:
    """One run in a few lines, for terminals that are too narrow for the table."""
    scores = [f"{name} {_score(row, name)}" for name in table.metrics]
    if _seeds_matter(table):
        scores.append(f"seeds {_seeds(row)}")
    settings = [f"{short}={setting(row, key)}" for key, short in short_keys(table.keys).items()]
    costs = zip(_costs(row), ("{} tokens/s", "{}", "{} parameters"), strict=True)
    lines = [scores, settings, [form.format(cost) for cost, form in costs if cost != ABSENT]]
    head = row.name
    if _mark(row):
        steps = row.entries[0].summary["steps"]
        head += f"  ({row.status})" if steps is None else f"  ({row.status} at step {steps})"
    text = Text(style="dim" if _mark(row) else "").append(head, style="bold" if best else "")
    return text.append("".join("\n  " + "  ".join(line) for line in lines if line) + "\n")


def _brief_names(table: Table) -> dict[str, str]:
    """Row name -> the time it begins with, where that names one row only."""
    brief = {row.name: re.match(r"(\d\d-\d\d-\d\d)?", row.name)[0] for row in table.rows}
    times = list(brief.values())
    return {name: time if time and times.count(time) == 1 else name for name, time in brief.items()}


def _best(table: Table) -> Row | None:
    finished = [row for row in table.rows if row.status == "finished" and row.mean(table.metrics[0]) is not None]
    return finished[0] if len(finished) > 1 else None


def _any_unfinished(table: Table) -> bool:
    return any(row.status != "finished" for row in table.rows)


def _seeds_matter(table: Table) -> bool:
    several = any(len(row.entries) > 1 for row in table.rows)
    return several or len({tuple(row.seeds) for row in table.rows}) > 1


def _mark(row: Row) -> str:
    """What is to be said of a run that did not finish."""
    return "" if row.status == "finished" else row.status


def _seeds(row: Row) -> str:
    seeds = row.seeds
    in_a_row = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    text = f"{seeds[0]}–{seeds[-1]}" if in_a_row else ", ".join(map(str, seeds)) or ABSENT
    return f"n = {len(row.entries)} ({text})" if len(row.entries) > 1 else text


def _score(row: Row, metric: str) -> str:
    found = row.statistics(metric)
    mean, interval = found["mean"], found["interval"]
    if mean is None:
        bad = any(entry.metrics.get(metric, 0) is None for entry in row.entries)  # it was measured, and was no number
        return "nan" if bad else ABSENT
    return figure(mean) if interval is None else f"{figure(mean)} ± {_like(interval[1] - mean, figure(mean))}"


def _like(value: float, example: str) -> str:
    """A spread with as many decimals as the mean beside it, or in its own way where that would show 0."""
    decimals = len(example.partition(".")[2]) if "e" not in example else 0
    text = f"{value:,.{decimals}f}"
    return text if value == 0 or (text.strip("0.,") and "e" not in example) else f"{value:.1e}"


def _costs(row: Row) -> list[str]:
    rate, time = row.mean("tokens_per_second"), row.mean("wall_seconds")
    parameters = _parameters(row)
    return [
        ABSENT if rate is None else short_number(rate),
        ABSENT if time is None else duration(time),
        ABSENT if parameters is None else short_number(parameters),
    ]


def _parameters(row: Row) -> float | None:
    count = row.entries[0].summary["parameters"]
    return count.get("total") if isinstance(count, dict) else count


def setting(row: Row, key: str) -> str:
    """What a row has at a key of the config, in few characters."""
    text = row.entries[0].show(key)
    if key.endswith("_hash"):
        text = text[:8]
    if "/" in text and len(text) > 24:
        text = text.rstrip("/").rsplit("/", 1)[-1]
    return text if len(text) <= 32 else f"{text[:15]}…{text[-16:]}"


def as_json(found: Sequence[Table], unreadable: dict[str, str]) -> str:
    """All tables as one JSON object; paths and values in full."""
    return json.dumps(
        plain({"tables": [_table_object(table) for table in found], "unreadable": unreadable}),
        ensure_ascii=False,
        indent=2,
    )


def _table_object(table: Table) -> dict:
    return {
        "command": table.command,
        "task": table.task,
        "metric": table.metrics[0],
        "higher_is_better": not lower_is_better(table.metrics[0]),
        "differing_keys": table.keys,
        "notes": table.notes + methods(table.tests, table.keys),
        "rows": [_row_object(table, row) for row in table.rows],
        "tests": [_test_object(test) for test in table.tests],
    }


def _row_object(table: Table, row: Row) -> dict:
    return {
        "name": row.name,
        "runs": [str(entry.run.path) for entry in row.entries],
        "status": row.status,
        "steps": row.entries[0].summary["steps"],
        "seeds": [entry.summary["seed"] for entry in row.entries],
        "settings": {key: row.entries[0].show(key) for key in table.keys},
        "metrics": {
            name: row.statistics(name) | {"values": row.values(name)}
            for name in dict.fromkeys([*table.metrics, *row.entries[0].metrics])
        },
        "best": row is _best(table),
        "baseline": row.entries[0].summary["baseline"],
        "degenerate": row.degenerate,
        "search": row.entries[0].summary["search"],
        "tokens_per_second": row.mean("tokens_per_second"),
        "wall_seconds": row.mean("wall_seconds"),
        "parameters": _parameters(row),
    }


def _test_object(test: Test) -> dict:
    names = {"metric": test.metric, "run": test.row.name, "against": test.reference.name}
    if (found := test.found) is None:
        return names | {"verdict": test.verdict}
    return names | {
        "verdict": sentence(test),
        "effect": found.effect,
        "interval": found.interval,
        "p": test.p,
        "p_uncorrected": found.p,
        "exact": found.exact,
        "seeds": sorted(found.seeds[0]),
        "seeds_against": sorted(found.seeds[1]),
        "paired": found.paired,
        "examples": found.examples,
        "resamples": found.resamples,
    }


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last component of each dotted key; more of them where two keys would look the same."""
    short = {}
    for key in keys:
        parts = key.split(".")
        lengths = range(1, len(parts) + 1)
        alone = (n for n in lengths if sum(other.split(".")[-n:] == parts[-n:] for other in keys) == 1)
        short[key] = ".".join(parts[-next(alone, len(parts)) :])
    return short
