"""From counts to figures: what is reported, with its interval and with what is expected of it."""

from dataclasses import dataclass

import numpy as np

from lmlab.audit.collect import Counts
from lmlab.audit.estimate import Estimate, histogram, mean, ratio

SHARE, NUMBER, CHANCE = "share", "number", "chance"
NOT_ALL = 1 - 1e-9
NOT_NONE = 1e-9
NO_CHOICE = "half of those with a choice; a single segment has none"
MOSTLY = 0.5  # sequences that ask nothing, words that are not known: more is no training


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
        group: heading under which it stands.
        name: what it is.
        estimate: its value, interval and expectation.
        kind: SHARE (shown in percent), NUMBER, or CHANCE (the p-value of a whole distribution).
        least, most: a value outside of these is impossible.
        why: what an impossible value means.
        note: what a reader may want to know, in few words.
    """

    group: str
    name: str
    estimate: Estimate
    kind: str = SHARE
    least: float = -np.inf
    most: float = np.inf
    why: str = ""
    note: str = ""


@dataclass(frozen=True)
class Histogram:
    """Spans of a forward pass by length, all sequences together.

    Attributes:
        unit: of the lengths, "tokens" or "words".
        found: how many of 0, 1, 2, ...
        expected: the same as expected, or None.
    """

    unit: str
    found: np.ndarray
    expected: np.ndarray | None


def figures_of(counts: Counts, max_positions: int | None = None, expected_random: float | None = None) -> list[Figure]:
    """All figures of a forward pass; those of which nothing was measured are left out.

    Args:
        counts: of the pass.
        max_positions: tokens of the longest sequence that the model can read; None: any.
        expected_random: share of pairs whose second segment is a random one, where there are pairs.
    """
    parts = [asked(counts)]
    if counts.corruption is not None:
        parts += [noise(counts), shown(counts), words(counts), spans(counts), sentinels(counts)]
    parts += [pairs(counts, expected_random), fields(counts), room(counts, max_positions)]
    return [figure for part in parts for figure in part if figure.estimate.value is not None]


def never(group: str, name: str, part: np.ndarray, whole: np.ndarray, why: str) -> Figure:
    """A share that must be 0."""
    return Figure(group, name, ratio(part, whole, 0.0), most=0.0, why=why)


def asked(counts: Counts) -> list[Figure]:
    """What is asked for."""
    group, number = "asked for", counts["asked"]
    why = "nothing is asked of most sequences, so that there is nothing to learn"
    found = [Figure(group, "sequences that ask nothing", mean(counts["empty"]), most=MOSTLY, why=why)]
    if not np.nansum(number):
        return found
    expected = np.where(counts["writes_all"] == 0, counts["expected_noise"], np.nan)
    return [
        Figure(group, "of all tokens", ratio(number, counts["tokens"], expected)),
        Figure(group, "of the tokens of text", ratio(counts["asked_text"], counts["text"], expected)),
        *found,
        never(group, "special tokens", counts["special_asked"], counts["special"], "special tokens are asked for"),
        never(group, "answers that are not the text", counts["wrong"], number, "the answers are not those of the text"),
    ]


def noise(counts: Counts) -> list[Figure]:
    """What is hidden, and what must not be."""
    group, special, text = "noise", counts["special"], counts["text"]
    writes_all = counts["writes_all"] == 1
    hidden = np.where(writes_all, counts["noise"], np.nan)  # else it is what is asked for
    followed = mean(np.where(counts["traced"].all(), np.nan, counts["traced"]))
    same = "no sequence differs from its text: the corruption changes nothing (has the text what it works on?)"
    return [
        Figure(group, "tokens hidden or replaced", ratio(hidden, counts["tokens"], counts["expected_noise"])),
        Figure(group, "sequences in another order", mean(np.where(writes_all, counts["moved"], np.nan))),
        Figure(group, "sequences left as they were", mean(counts["unchanged"]), most=NOT_ALL, why=same),
        never(group, "hidden but not asked for", counts["lost"], text, "text is hidden and not asked for"),
        never(group, "special tokens changed", counts["special_changed"], special, "special tokens are changed"),
        Figure(group, "text left out beforehand", ratio(counts["left_out"], text + counts["left_out"], 0.0)),
        Figure(group, "sequences that could be followed", followed),
    ]


def shown(counts: Counts) -> list[Figure]:
    """How noise is shown: as the mask, as a random token or as it was."""
    group, total, corruption = "noise is shown", counts["noise"], counts.corruption
    names = {"as_mask": "as the mask", "as_random": "as a random token", "as_kept": "as it was"}
    if np.nansum(sum(counts[name] for name in names)) < np.nansum(total):
        return []  # some of it is not shown at all
    shares: dict[str, float | None] = dict.fromkeys(names)
    if corruption.mask_share is not None:
        as_random = corruption.random_share * (1 - counts.counter.chance_kept)  # a random token may be the true one
        shares = {"as_mask": corruption.mask_share, "as_random": as_random}
        as_kept = 1 - sum(shares.values())
        if np.nansum(counts["writes_all"]):  # what is kept is not known to be noise
            shares = {name: share / (1 - as_kept) for name, share in shares.items()}
        else:
            shares["as_kept"] = as_kept
    why = "special tokens are shown as random ones"
    return [
        *(Figure(group, names[name], ratio(counts[name], total, share)) for name, share in shares.items()),
        never(group, "special among the random ones", counts["special_drawn"], counts["as_random"], why),
    ]


def words(counts: Counts) -> list[Figure]:
    """Whether words are hidden whole."""
    name, split, all_words = "of several tokens hidden in part", counts["words_split"], counts["words"]
    if counts.corruption.whole_words:
        return [never("words", name, split, all_words, "words are split by a corruption that hides whole words")]
    return [Figure("words", name, ratio(split, all_words))]


def spans(counts: Counts) -> list[Figure]:
    """How many spans there are, and how long they are."""
    group, unit = "spans", "words" if counts.corruption.whole_words else "tokens"
    expected = np.array([np.nan if each is None else each.sum() for each in counts.expected_spans])
    if np.nansum(counts["moved"]):  # what is hidden has moved as well: only its marks can be counted
        return [Figure(group, "in a sequence", mean(counts["marks"], expected), NUMBER)]
    found, wanted = span_tables(counts)
    if not found.sum():
        return []
    number, total = found.sum(1), found @ np.arange(found.shape[1])
    figures = [Figure(group, "in a sequence", mean(number, wanted.sum(1) if len(wanted) else None), NUMBER)]
    if not len(wanted):
        return [*figures, Figure(group, f"mean length in {unit}", ratio(total, number), NUMBER)]
    length = float(wanted.sum(0) @ np.arange(wanted.shape[1]) / wanted.sum())
    p = histogram(found, wanted)
    return [
        *figures,
        Figure(group, f"mean length in {unit}", ratio(total, number, length), NUMBER),
        Figure(group, "lengths as expected: p", Estimate(p, p=p), CHANCE),
    ]


def histogram_of(counts: Counts) -> Histogram | None:
    """The spans of a pass by length; None where there are none, or where they could not be measured."""
    found, wanted = span_tables(counts)
    if np.nansum(counts["moved"]) or not found.sum():
        return None
    unit = "words" if counts.corruption.whole_words else "tokens"
    return Histogram(unit, found.sum(0), wanted.sum(0) if len(wanted) else None)


def span_tables(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of spans by length, found and expected, (sequences, lengths) each; no rows where nothing is expected."""
    known = [number for number, each in enumerate(counts.spans) if each is not None]
    wanted = [counts.expected_spans[number] for number in known]
    if any(each is None for each in wanted):
        wanted = []
    rows = [counts.spans[number] for number in known]
    width = max((len(each) for each in (*rows, *wanted)), default=1)

    def table(rows: list[np.ndarray]) -> np.ndarray:
        return np.array([np.pad(each, (0, width - len(each))) for each in rows]).reshape(-1, width)

    return table(rows), table(wanted)


def sentinels(counts: Counts) -> list[Figure]:
    """How many sentinels are used, and whether they stand in their order."""
    number, available = counts["sentinels"], len(counts.counter.sentinel_ids)
    if not np.nansum(number):
        return []
    most = int(np.nanmax(number))
    in_order = mean(counts["sentinels_in_order"], 1.0)
    why = "sentinels are not those of their places, or inputs and targets have different ones"
    return [
        Figure("sentinels", "in a sequence", mean(number), NUMBER, note=f"at most {most} of {available}"),
        Figure("sentinels", "in order, in inputs and targets", in_order, least=1, why=why),
    ]


def pairs(counts: Counts, expected_random: float | None) -> list[Figure]:
    """Where the second segment of a pair comes from, and what is asked about it."""
    group, random, label = "pairs", counts["random"], counts["label"]
    if not np.isfinite(random).any():
        return []
    is_order = counts.counter.asks_order
    truth = counts["swapped"] if is_order else random
    right = mean(np.where(np.isfinite(label + truth), label == truth, np.nan))
    if right.value is not None and right.value < 0.5:  # an objective may call either answer 1
        right = mean(np.where(np.isfinite(label + truth), label != truth, np.nan))
    kinds = [Figure(group, "segments swapped", mean(counts["swapped"], 0.5))] if is_order else []
    if not is_order:
        kinds = [Figure(group, "second segment at random", mean(random, expected_random), note=NO_CHOICE)]
    same = "random segments are of the document that they should not follow"
    other = "segments that should follow are of another document"
    return [
        *kinds,
        never(group, "random, of the same document", counts["random_same"], random, same),
        never(group, "next, of another document", counts["next_other"], 1 - random, other),
        Figure(group, "answers that are right", right, least=1, why="the answers about pairs contradict them"),
    ]


def fields(counts: Counts) -> list[Figure]:
    """Which fields of documents are left out, and whether the others keep their order."""
    if counts.counter.about_fields is None:
        return []
    group, in_order = "fields", mean(counts["in_order"], counts["expected_in_order"])
    names = counts.counter.about_fields.fields
    left_out = [mean(counts[f"without {name}"], counts[f"chance without {name}"]) for name in names]
    return [
        *(Figure(group, f"{name} left out", each) for name, each in zip(names, left_out, strict=True)),
        Figure(group, "all in their order", in_order, note="n fields: n + 1 of 2^n splits"),
    ]


def room(counts: Counts, max_positions: int | None) -> list[Figure]:
    """Lengths and padding."""
    group, slots, longest = "room", counts["slots"], float(np.max(counts["length"]))
    text, tokens = counts["text"], counts["tokens"]
    most = np.inf if max_positions is None else max_positions
    note = "" if max_positions is None else f"of {max_positions:,} positions"
    return [
        Figure(group, "padding", ratio(slots - counts["used"], slots), most=NOT_ALL, why="all is padding"),
        Figure(group, "tokens that are text", ratio(text, tokens), least=NOT_NONE, why="there is no text"),
        Figure(group, "tokens seen", mean(counts["inputs"]), NUMBER),
        Figure(group, "tokens asked for", mean(counts["questions"]), NUMBER),
        Figure(group, "longest", Estimate(longest), NUMBER, most=most, why="sequences are too long", note=note),
    ]
