"""Sliding windows: nothing is skipped, answers are found in every window, the best answer is the best."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lmlab.errors import UserError
from lmlab.formulations.sequences import Frame
from lmlab.formulations.spans import Span, best_spans
from lmlab.tasks.span import SpanExtraction


class Words:
    """A tokenizer with one token a word."""

    pad_id, cls_id, sep_id, bos_id, eos_id = 0, 1, 2, 1, 2
    separators_between = 1

    def encode_batch(self, texts):
        return [np.arange(10, 10 + len(text.split())) for text in texts]

    def encode_with_offsets(self, text):
        offsets, end = [], 0
        for word in text.split():
            start = text.index(word, end)
            offsets.append((start, end := start + len(word)))
        return list(range(100, 100 + len(offsets))), offsets


TASK = SpanExtraction(
    name="qa", source="qa", fields=["question", "context"], target="answers", metrics=["f1"], unanswerable=True
)
CONTEXT = " ".join(f"word{i:02}" for i in range(37))


def question(layout="encoder", max_length=14, doc_stride=3, max_answer_length=5):
    return Span(TASK, Words(), Frame(layout, Words(), max_length), doc_stride, 4, max_answer_length)


def row(*answers, text="who was it"):
    starts = [CONTEXT.index(answer) for answer in answers]
    target = {"text": list(answers), "answer_start": starts}
    return {"id": "q", "inputs": {"question": text, "context": CONTEXT}, "target": target}


@pytest.mark.parametrize("layout", ["encoder", "decoder", "encoder-decoder"])
def test_the_answer_is_marked_in_every_window_that_shows_it_whole(layout):
    asked = question(layout)
    examples = list(asked.examples([row("word10 word11")]))
    inputs = asked.frame.collate(examples)
    targets = asked.targets(examples, inputs)
    ids = inputs["input_ids"]
    shown = 0
    for i, example in enumerate(examples):
        start, end = int(targets["start"][i]), int(targets["end"][i])
        seen = example.ids.tolist()
        if 110 in seen and 111 in seen:  # the ids of word10 and word11
            shown += 1
            assert (int(ids[i, start]), int(ids[i, end])) == (110, 111)
        else:
            assert start == end == asked.null_position(example)
        visible = ids[i][targets["visible"][i]]
        assert all(token >= 100 for token in visible.tolist()[1:-1])
        assert len(visible) == len(example.window.offsets) + 1  # the null position too
    assert shown >= 2


def test_answers_that_are_not_in_the_context_are_not_learnt_from():
    lost = row()
    lost["target"] = {"text": ["elsewhere"], "answer_start": [-1]}
    asked = question()
    examples = list(asked.examples([lost, row("word10")]))
    assert {example.row for example in asked.trainable(examples)} == {1}

    def loss(examples, outputs):
        return asked.loss(outputs, asked.targets(examples, asked.frame.collate(examples)))

    outputs = torch.randn(len(examples), max(len(example.ids) for example in examples), 2)
    known = [index for index, example in enumerate(examples) if example.row == 1]
    assert asked.count(examples) == len(known) == len(examples) / 2  # nor counted in a loss, as if there were no answer
    torch.testing.assert_close(loss(examples, outputs), loss([examples[i] for i in known], outputs[known]))
    assert loss([each for each in examples if each.row == 0], outputs[: len(known)]) == 0


@pytest.mark.parametrize("layout", ["encoder", "decoder", "encoder-decoder"])
@pytest.mark.parametrize("answer", ["word00", "word10 word11", "word35 word36"])
def test_a_model_that_points_at_the_answer_gives_its_text(layout, answer):
    asked = question(layout)
    asked_row = row(answer)
    examples = list(asked.examples([asked_row]))
    found = {}
    for example in examples:  # one by one: the order and the batches must not matter
        inputs = asked.frame.collate([example])
        targets = asked.targets([example], inputs)
        outputs = torch.zeros(1, targets["visible"].shape[1], 2)
        outputs[0, targets["start"][0], 0] = outputs[0, targets["end"][0], 1] = 5.0
        asked.read(outputs, [example], found)
    prediction = asked.answer(asked_row, found[0])
    assert prediction["text"] == answer
    assert prediction["null_odds"] < 0  # the windows that show the answer outvote those that do not


def test_the_null_score_is_the_least_over_windows():
    asked, found = question(), {}
    examples = list(asked.examples([row()]))
    for i, example in enumerate(examples):
        outputs = torch.zeros(1, len(example.ids), 2)
        outputs[0, 0] = torch.tensor([3.0, 2.0 + (i != 1)])
        asked.read(outputs, [example], found)
    assert found[0]["null"] == 5.0
    assert asked.answer({}, found[0])["null_odds"] == 5.0  # the best answer scores 0


@pytest.mark.parametrize("max_length", [1, 4, 30])
def test_the_best_span_equals_trying_all(max_length):
    starts, ends = torch.randn(2, 20, 15, generator=torch.Generator().manual_seed(0))
    starts[:, 3:9], ends[:, 10:] = -torch.inf, -torch.inf
    found = zip(starts, ends, *best_spans(starts, ends, max_length), strict=True)
    for start, end, score, first, last in found:
        pairs = {(i, j): float(start[i] + end[j]) for i in range(15) for j in range(i, min(i + max_length, 15))}
        assert (first, last) == max(pairs, key=pairs.get) and score == pytest.approx(max(pairs.values()))


def test_windows_that_would_skip_tokens_are_refused():
    question(doc_stride=7).check()
    with pytest.raises(UserError, match="doc_stride=8"):
        question(doc_stride=8).check()
    with pytest.raises(UserError, match="leaves no room"):
        question(max_length=7, doc_stride=None).check()


def test_an_empty_context_has_no_answer():
    asked, found = question(), {}
    empty = row()
    empty["inputs"]["context"] = ""
    examples = list(asked.examples([empty]))
    asked.read(torch.zeros(1, len(examples[0].ids), 2), examples, found)
    assert asked.answer(empty, found[0])["text"] == "" and found[0]["null"] == 0


def test_the_loss_is_the_mean_of_start_and_end_over_what_is_visible():
    asked = question()
    examples = list(asked.examples([row("word10 word11")]))[:3]
    targets = asked.targets(examples, asked.frame.collate(examples))
    outputs = torch.randn(*targets["visible"].shape, 2)
    wanted = 0.0
    for i in range(3):
        visible = targets["visible"][i].nonzero().squeeze(1).tolist()
        for side, name in enumerate(("start", "end")):
            place = visible.index(int(targets[name][i]))
            wanted -= outputs[i, visible, side].log_softmax(0)[place] / 2
    assert asked.loss(outputs, targets) == pytest.approx(float(wanted))


def test_contexts_are_tokenised_once():
    calls = SimpleNamespace(n=0)

    class Counting(Words):
        def encode_with_offsets(self, text):
            calls.n += 1
            return super().encode_with_offsets(text)

    asked = Span(TASK, Counting(), Frame("encoder", Words(), 14), 3, 4, 5)
    list(asked.examples([row("word01"), row("word02"), row()]))
    assert calls.n == 1
