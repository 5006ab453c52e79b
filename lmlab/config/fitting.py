"""Whether objective, model and corruption fit each other, and whether the sizes they ask for can be had.

First by class attributes: `Model.layout`, `Objective.layouts`, `.unit` and `.corruption_needs`, and those of
`Corruption`. A class made of others (a sum of objectives, a chain of corruptions) need not repeat what its parts
declare: the strictest of all counts. Then by a trial: corruption and objective are built with a stand-in for the
tokenizer, which costs nothing and brings out what their classes refuse.
"""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from lmlab.config.assemble import PIECES, refuse_too_long, tokenizer_facts
from lmlab.config.build import build
from lmlab.config.nodes import Node, declares, layout_of, nodes, option_name, options_that, trait, value_of
from lmlab.errors import UserError
from lmlab.objectives.text_pairs import one_token_words

SPAN_LENGTHS = ("mean_length", "max_length", "max_n")  # keys of corruptions, in tokens or words
SPECIALS = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
MEANING = {
    "keeps_length": "keep the length of the text",
    "hides": "hide or change something",
    "selects": "choose a part of the text",
}


def layouts_of(objective: Node) -> set[str]:
    """The model layouts that serve an objective; for a sum, those that serve all parts."""
    declared = [set(each) for each in trait(objective, "layouts")]
    return set.intersection(*declared) if declared else {"encoder", "decoder", "encoder-decoder"}


def suits(corruption: Node, needs: set[str]) -> bool:
    """Whether a corruption has all attributes that an objective needs; without needs it must hide nothing."""
    if not needs:
        return not any(trait(corruption, "hides"))
    return all(all(trait(corruption, name)) for name in needs)


def fitting_problems(words: Mapping[str, Any]) -> list[str]:
    """What keeps the objective of a composed config from being asked."""
    objective, model, corruption = (words.get(name) for name in ("objective", "model", "corruption"))
    if not isinstance(objective, Mapping):
        return []
    problems = list(_unit_problems(objective))
    if isinstance(model, Mapping):
        problems += _layout_problems(model, objective)
    if isinstance(corruption, Mapping):
        problems += _corruption_problems(objective, corruption)
    return problems


def _unit_problems(objective: Node) -> Iterator[str]:
    name, units = option_name("objective", objective), trait(objective, "unit")
    for unit in units:
        if unit not in PIECES:
            yield f"objective: {name} declares the unit {unit!r}; known are {', '.join(PIECES)}"
    parts = dict(_parts(objective, "unit"))
    differ = set(parts.values()) if "record" in parts.values() else set(parts.values()) - {"block"}
    if len(differ) > 1:
        reads = [f"{key} reads a {unit}" for key, unit in parts.items() if unit in differ]
        yield (
            f"the parts of objective={name} need different text: {', '.join(reads)}. Text is cut in one way for all"
            " parts: drop one of these"
        )


def _parts(objective: Node, name: str) -> Iterator[tuple[str, Any]]:
    """What each part of a sum declares, the sum itself left out."""
    for key, node in nodes(objective, "objective"):
        if key != "objective" and (declared := declares(node, name)) is not None:
            yield key, declared


def _layout_problems(model: Node, objective: Node) -> Iterator[str]:
    layout, wanted = layout_of(model), layouts_of(objective)
    if layout is None or layout in wanted:
        return
    model_name, objective_name = option_name("model", model), option_name("objective", objective)
    objectives = options_that("objective", lambda node: layout in layouts_of(node))
    if not wanted:
        parts = ", ".join(f"{key} {' or '.join(fits)}" for key, fits in _parts(objective, "layouts"))
        yield f"no model fits all parts of objective={objective_name} ({parts}): drop those that disagree"
        return
    models = options_that("model", lambda node: layout_of(node) in wanted)
    yield (
        f"model={model_name} cannot learn objective={objective_name}: the model's layout is {layout}, and the"
        f" objective needs {' or '.join(sorted(wanted))}."
        f"\nObjectives that fit model={model_name}: {', '.join(objectives) or 'none'}."
        f"\nModels that fit objective={objective_name}: {', '.join(models) or 'none'}."
    )


def _corruption_problems(objective: Node, corruption: Node) -> Iterator[str]:
    """Each part is held against its own corruption; those without one together against the root's.

    Where a question about a pair is asked besides, text must not move from one segment to the other.
    """
    shared, num_own = [], 0
    for_pairs = {"selects"} if set(trait(objective, "unit")) - {"block"} else set()
    for key, node in nodes(objective, "objective"):
        if (needs := declares(node, "corruption_needs")) is None:
            continue
        needs = for_pairs.union(needs)
        if not isinstance(own := node.get("corruption"), Mapping):
            shared.append(needs)
            continue
        num_own += 1
        if not suits(own, needs):
            name = option_name(f"corruption@{key}.corruption", own)
            yield _misfit(f"corruption@{key}.corruption={name}", key, needs)
    needs = set().union(*shared)
    if (shared or not num_own) and not suits(corruption, needs):
        names = option_name("corruption", corruption), option_name("objective", objective)
        yield _misfit(f"corruption={names[0]}", f"objective={names[1]}", needs)


def _misfit(corruption: str, objective: str, needs: set[str]) -> str:
    wishes = [MEANING.get(name, f"have the attribute {name}") for name in sorted(needs)]
    wish = " and ".join(filter(None, [", ".join(wishes[:-1]), *wishes[-1:]]))
    fitting = options_that("corruption", lambda node: suits(node, needs))
    return (
        f"{corruption} does not fit {objective}, whose corruption must {wish or 'hide nothing'}."
        f"\nCorruptions that fit: {', '.join(fitting) or 'none'}."
    )


# --- the trial ---


def size_problems(words: Mapping[str, Any]) -> list[str]:
    """What corruption and objective refuse, and sequences and spans that are too long.

    For words that fit: their layouts and attributes have been held against each other before.
    """
    if not all(isinstance(words.get(name), Mapping) for name in ("objective", "corruption", "tokenizer", "model")):
        return []
    problems = list(_span_problems(words))
    facts = tokenizer_facts(stand_in_tokenizer(words["tokenizer"]))
    try:
        corruption = build(words["corruption"], "corruption", **facts)
        fields = (words.get("corpus") or {}).get("fields")
        objective = build(words["objective"], "objective", corruption=corruption, fields=fields, **facts)
        positions = value_of(words["model"], "max_positions")
        refuse_too_long(objective, words["seq_len"], layout_of(words["model"]), positions)
        problems += _mean_length_problems(corruption, objective, words["seq_len"])
    except UserError as error:
        problems.append(str(error))
    return problems


def _span_problems(words: Mapping[str, Any]) -> Iterator[str]:
    seq_len = words["seq_len"]
    for group in ("corruption", "objective"):
        for key, node in nodes(words[group], group):
            for name in SPAN_LENGTHS:
                length = node.get(name)
                if isinstance(length, int | float) and length > seq_len:
                    yield f"{key}.{name}={length}: such spans are longer than a whole sequence, seq_len={seq_len}"


def _mean_length_problems(corruption: Any, objective: Any, seq_len: int) -> Iterator[str]:
    """Spans that cannot be as long as they should, because less than one of them is hidden in a sequence."""
    mean_length = getattr(corruption, "mean_length", None)
    noise = corruption.expected_noise(one_token_words(objective.block_length(seq_len)))
    if mean_length is not None and noise is not None and round(mean_length) > max(1, round(noise)):
        yield (
            f"corruption.mean_length={mean_length}: of a sequence of seq_len={seq_len} only {round(noise)} tokens are"
            " hidden, so that no span can be as long: raise seq_len or corruption.rate, or make spans shorter"
        )


def stand_in_tokenizer(tokenizer: Node) -> Any:
    """A tokenizer with all special tokens, and with the sentinels of the one that will be trained or loaded."""
    num_sentinels = value_of(tokenizer, "num_sentinels")
    first = len(SPECIALS)
    sentinels = range(first, first + (1000 if num_sentinels is None else max(0, num_sentinels)))
    ids = {f"{name}_id": number for number, name in enumerate(SPECIALS)}
    special = {*ids.values(), *sentinels}
    size = len(special) + 100
    return SimpleNamespace(
        **ids, sentinel_ids=list(sentinels), special_ids=special, structural_ids=special, vocab_size=size
    )
