"""Fields as conditions: how they are laid out, and how often each is shown."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from asked import END, FIELDS, SENTINELS, batches_of, field_lm, record

from lmlab.batch import IGNORE
from lmlab.errors import UserError
from lmlab.objectives.field_lm import FieldLm
from lmlab.text.passage import Record, plain

NUM_DRAWS = 20_000


def orders(objective: FieldLm, unit: Record) -> Counter:
    """How often the fields are shown in each order."""
    rng = np.random.default_rng(0)
    return Counter(tuple(objective.order(unit, rng)) for _ in range(NUM_DRAWS))


def test_a_field_is_its_marker_its_text_and_the_end_and_all_but_the_first_token_are_asked_for():
    unit = record(4, 0, 9)
    cut = Record((*unit.fields[:2], plain(unit.fields[2].tokens[:5])))  # what is cut off has taken the end with it
    title, text = ([SENTINELS[number], *cut.fields[number].tokens] for number in (0, 2))
    found = set()
    for seed in range(20):
        example = field_lm().example(cut, np.random.default_rng(seed))
        again = field_lm().example(cut, np.random.default_rng(seed))
        assert len(example["inputs"]) == 0 and np.array_equal(example["targets"], again["targets"])
        found.add(tuple(example["targets"].tolist()))
    assert found == {(*title, *text), (*text, *title), tuple(text)}
    (batch,) = batches_of(field_lm(drop_rate=0, body_only_rate=0), "decoder", [unit, cut])
    assert batch.counts == {"field_lm": len(batch.targets["labels"])} == {"field_lm": batch.num_tokens}
    assert batch.num_tokens == sum(len(each) + 1 for unit in (unit, cut) for each in unit.fields if len(each)) - 2
    assert END in batch.targets["labels"] and SENTINELS[0] in batch.targets["labels"]
    assert IGNORE not in batch.targets["labels"]


def test_every_order_comes_as_often_as_two_random_sets_give_it():
    """Three fields: of the 8 splits 4 keep the order, and each other order that two sorted sets make has one."""
    found = orders(field_lm(drop_rate=0, body_only_rate=0), record(3, 3, 3))
    splits = Counter(
        (*first, *(number for number in range(3) if number not in first))
        for size in range(4)
        for first in combinations(range(3), size)
    )
    assert splits[0, 1, 2] == 4 and sorted(found) == sorted(splits) and len(splits) == 5
    for order, number in splits.items():
        assert found[order] / NUM_DRAWS == pytest.approx(number / 8, abs=0.015)


@pytest.mark.parametrize(("lengths", "body"), [((3, 3, 3), 2), ((3, 3, 0), 1), ((0, 0, 3), 2), ((3, 0, 0), 0)])
def test_fields_are_left_out_as_often_as_asked_for_and_the_body_never(lengths, body):
    objective, unit = field_lm(), record(*lengths)
    found = orders(objective, unit)
    chances = objective.chances_dropped(unit)
    assert list(chances) == list(np.flatnonzero(lengths))
    for number, chance in chances.items():
        assert chance == (0 if number == body else pytest.approx(1 - 0.9 * 0.65))
        left_out = sum(count for order, count in found.items() if number not in order)
        assert left_out / NUM_DRAWS == pytest.approx(chance, abs=0.015)
    if lengths == (3, 3, 3):  # one alone, or all but the body
        assert found[2,] / NUM_DRAWS == pytest.approx(0.35 + 0.65 * 0.01, abs=0.015)


def test_a_field_without_a_marker_is_refused():
    with pytest.raises(UserError, match="3 fields, each marked by a sentinel"):
        FieldLm(FIELDS, SENTINELS[:2], END)
    for fields in (None, []):
        with pytest.raises(UserError, match="name the columns"):
            FieldLm(fields, SENTINELS, END)
    with pytest.raises(ValueError, match="end token"):
        FieldLm(FIELDS, SENTINELS, None)
