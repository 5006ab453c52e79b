"""Shots stand as the template says; scores are those of a direct computation; a planted liking for a label goes."""

from collections import Counter
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_likelihood import BYTES, END, LAYOUTS, WORD_PIECES, WORDS, Folder, log_probabilities, model

from lmlab.errors import UserError
from lmlab.formulations.in_context import InContext
from lmlab.formulations.template import Template
from lmlab.models.gpt import Gpt
from lmlab.models.t5_decoder import T5Decoder
from lmlab.objectives.base import Learner
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.chosen import ChosenTokens
from lmlab.objectives.prefix_lm import PrefixLm

LABELS = ["yes", "no"]
ANSWERS = ["alpha", "beta gamma"]  # one token, and several
TEMPLATE = Template(prompts=["{text}\nanswer:", "is it {text} ?"], answers=ANSWERS)


def row(number, text, target):
    return {"id": f"row-{number}", "inputs": {"text": text}, "target": target}


def some_rows(count, seed=0, length=3):
    generator = np.random.default_rng(seed)
    return [row(i, " ".join(generator.choice(WORDS, length)), int(generator.integers(2))) for i in range(count)]


class Task(SimpleNamespace):
    """Two labels for a text; the split `train` has `shots`."""

    kind, name, fields, metrics, labels, train_split = "classification", "t", ["text"], ["accuracy"], LABELS, "train"

    def rows(self, split):
        assert split == "train"
        return self.shots

    def reference(self, row):
        return self.labels[row["target"]]

    def score(self, predictions, references):
        return {"accuracy": float(np.mean([a == b for a, b in zip(predictions, references, strict=True)]))}


class TextTask(Task):
    """A text for a text, of two references."""

    kind, labels = "text", None

    def reference(self, row):
        return row["target"]


class ChoiceTask(Task):
    kind, labels = "choice", None


def asker(task=None, kind=Gpt, objective=CausalLm, tokenizer=WORD_PIECES, context=None, template=TEMPLATE, **options):
    objective = objective()
    trained = Learner(model(kind, tokenizer.vocab_size, max_positions=512), objective).eval()
    asks = ChosenTokens(objective, tokenizer)
    formulation = InContext(template=template, asks=asks, context=context, **options)
    task = task or Task(shots=some_rows(20, seed=1))
    return formulation, formulation.learner(trained.model, task, tokenizer, trained.heads), trained


def told(learner, rows, order=0):
    """What is read for each row, with its answers."""
    prompt, order = learner.prompts[0], learner.orders[order]
    return prompt, learner.lay_out(prompt, rows, [learner.shots_of(each, order) for each in rows])


def read(learner, rows):
    """The texts that the model reads, as tokens decode them."""
    return [learner.tokenizer.decode(text.ids[1:]) for each in told(learner, rows)[1] for text in each.texts]


def scores(learner, rows, budget=256):
    prompt, found = told(learner, rows)
    return learner.scores(prompt, list(map(prompt.answers, rows)), found, budget)


# ---- what is read


@pytest.mark.parametrize("shots", [0, 1, 3])
def test_shots_stand_as_the_template_says(shots):
    template = Template(
        prompts=["{text}\nanswer:"], answers=ANSWERS, instruction="Say alpha or beta gamma.", between="\n--\n"
    )
    train = [row(i, text, i % 2) for i, text in enumerate(["eta", "theta", "iota"])]
    _, learner, _ = asker(Task(shots=train), tokenizer=BYTES, template=template, shots=shots)
    solved = {0: "eta\nanswer: alpha", 1: "theta\nanswer: beta gamma", 2: "iota\nanswer: alpha"}
    drawn = [solved[int(each["id"].removeprefix("row-"))] for each in learner.orders[0][:shots]]
    beginning = "\n--\n".join(["Say alpha or beta gamma.", *drawn, "kappa\nanswer:"])
    assert read(learner, [row(9, "kappa", 1)]) == [f"{beginning} alpha", f"{beginning} beta gamma"]


def test_a_prompt_that_ends_in_white_space_gets_no_more():
    template = Template(prompts=["{text}\n"], answers=ANSWERS)
    _, learner, _ = asker(tokenizer=BYTES, template=template)
    (each,) = told(learner, [row(0, "kappa", 1)])[1]
    assert BYTES.decode(each.texts[0].ids[1:]) == "kappa\nalpha"
    assert BYTES.decode(each.texts[0].ids[each.texts[0].asked]) == "alpha"  # the line's end is given


def test_a_task_without_a_template_has_its_columns_and_labels():
    _, learner, _ = asker(tokenizer=BYTES, template=None)
    assert read(learner, [row(0, "kappa", 1)]) == ["text: kappa\nanswer: yes", "text: kappa\nanswer: no"]


def test_answers_of_each_kind():
    shots = [{"id": "s", "inputs": {"text": "eta", "choices": ["iota", "theta"]}, "target": 1}]
    question = {"id": "q", "inputs": {"text": "beta", "choices": ["zeta", "alpha", "delta"]}, "target": 1}
    template = Template(prompts=["{choices}: {text} is"])
    _, learner, _ = asker(ChoiceTask(shots=shots), tokenizer=BYTES, template=template, shots=1)
    assert read(learner, [question])[1] == "iota, theta: eta is theta\n\nzeta, alpha, delta: beta is alpha"
    letters = Template(prompts=["{text} (A {choice1} B {choice2})"], answers=["A", "B", "C"])
    _, learner, _ = asker(ChoiceTask(shots=shots), tokenizer=BYTES, template=letters, shots=1)
    assert read(learner, [question])[2] == "eta (A iota B theta) B\n\nbeta (A zeta B alpha) C"
    few = Template(prompts=["{text}"], answers=["A", "B"])
    _, learner, _ = asker(ChoiceTask(shots=shots), tokenizer=BYTES, template=few, shots=1)
    with pytest.raises(UserError, match=r"template.answers has 2 texts, and row q of task 't' 3 choices"):
        told(learner, [question])
    pair = {"id": "s", "inputs": {"text": "1 + 1 ="}, "target": ["2", "two"]}
    template = Template(prompts=["{text}"], between="\n")
    _, learner, _ = asker(TextTask(shots=[pair]), tokenizer=BYTES, template=template, shots=1)
    asked = pair | {"inputs": {"text": "1 + 2 ="}, "target": ["3"]}
    assert read(learner, [asked]) == ["1 + 1 = 2\n1 + 2 = 3"]


# ---- which shots


def test_shots_follow_the_seed_and_grow():
    def drawn(**options):
        _, learner, _ = asker(**options)
        return [[each["id"] for each in learner.shots_of(row(99, "none", 0), order)] for order in learner.orders]

    assert drawn(shots=16) == drawn(shots=16) != drawn(shots=16, seed=1)
    several = drawn(shots=16, orders=3)
    assert several[0] == drawn(shots=16)[0] and len(set(map(tuple, several))) == 3
    assert [each[:4] for each in several] == drawn(shots=4, orders=3)
    assert drawn(shots=0, orders=3) == [[]]  # nothing to put in another order


def test_balanced_shots_have_as_many_of_each_label_as_there_are():
    train = [row(i, f"{i}", int(i >= 17)) for i in range(20)]  # three of the second label
    for shots in range(1, 20):
        _, learner, _ = asker(Task(shots=train), shots=shots, balanced=True)
        labels = Counter(each["target"] for each in learner.shots_of(row(99, "none", 0), learner.orders[0]))
        assert min(labels[0], labels[1]) == min(3, shots // 2)


def test_the_question_is_never_among_its_shots():
    train = some_rows(20, seed=1)
    _, learner, _ = asker(Task(shots=train), shots=19)
    for question in train:
        shots = learner.shots_of({**question, "id": "elsewhere"}, learner.orders[0])
        assert len(shots) == 19 and question["inputs"] not in [each["inputs"] for each in shots]
    _, learner, _ = asker(Task(shots=train), shots=20)
    with pytest.raises(UserError, match=r"shots=20: task 't' has 19 training rows besides the question itself"):
        learner.shots_of(train[0], learner.orders[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_shots_go_where_there_is_no_room_and_never_the_question(layout, caplog):
    kind, objective = LAYOUTS[layout]
    formulation, learner, _ = asker(kind=kind, objective=objective, shots=6, context=60)
    rows = [row(0, "eta", 0), row(1, " ".join(WORDS), 1)]
    prompt, (short, long) = told(learner, rows)
    for question, each in zip(rows, (short, long), strict=True):
        wanted = learner.shots_of(question, learner.orders[0])
        assert each.shots == wanted[len(wanted) - len(each.shots) :]
        assert max(text.length for text in each.texts) <= 60
        one_more = wanted[len(wanted) - len(each.shots) - 1 :]
        assert max(text.length for text in learner.encode(prompt.questions(question, one_more))) > 60
        assert len({tuple(text.ids[: text.common]) for text in each.texts}) == 1  # all answers after the same shots
    assert 0 < len(long.shots) < len(short.shots) < 6
    answers = formulation.answer(learner, rows, 512)
    left_out = 12 - len(short.shots) - len(long.shots)
    assert answers.metrics["shots_dropped"] == left_out / 12
    assert caplog.text.count(f"{left_out} of 12 shots are left out") == 1
    formulation, learner, _ = asker(kind=kind, objective=objective, shots=6, context=60, orders=2)
    left_out += 12 - sum(len(each.shots) for each in told(learner, rows, order=1)[1])
    assert formulation.answer(learner, rows, 512).metrics["shots_dropped"] == left_out / 24


# ---- scores


@pytest.mark.parametrize("budget", [1, 300, 10_000])
@pytest.mark.parametrize("normalise", ["none", "tokens", "bytes", "answer"])
def test_scores_are_the_sums_of_a_direct_computation(normalise, budget):
    _, learner, trained = asker(shots=2, normalise=normalise)
    rows = some_rows(5)
    prompt, found = told(learner, rows)
    expected = []

    def sum_of(before, answer):
        start, ids = [END, *WORD_PIECES.encode(before)], WORD_PIECES.encode(answer)
        table = log_probabilities(trained, [*start, *ids][:-1])
        return sum(table[len(start) - 1 + i, id] for i, id in enumerate(ids))

    size = {"tokens": lambda text: len(WORD_PIECES.encode(text)), "bytes": lambda text: len(text.encode())}
    for question, each in zip(rows, found, strict=True):
        for answer in ANSWERS:
            score = sum_of(prompt.beginning(each.shots) + prompt.question(question), answer)
            score -= sum_of("answer:", answer) if normalise == "answer" else 0
            expected.append(score / size.get(normalise, lambda _: 1)(answer))
    np.testing.assert_allclose(scores(learner, rows, budget), expected, rtol=1e-4)


@pytest.mark.parity
def test_gpt2_of_transformers_after_shots(tmp_path):
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256, "initializer_range": 0.5}
    folder, rows = Folder(tmp_path, ("GPT2", "LMHeadModel"), BYTES, **sizes), some_rows(6)
    source = folder.source
    asks = ChosenTokens(source.learner.objective, source.tokenizer)
    formulation = InContext(shots=3, template=TEMPLATE, asks=asks, context=source.context)
    learner = formulation.learner(source.model, Task(shots=some_rows(9, 1)), source.tokenizer, source.heads)
    prompt, found = told(learner, rows)
    expected = []
    for question, answer in product(zip(rows, found, strict=True), ANSWERS):
        before = prompt.beginning(question[1].shots) + prompt.question(question[0]).rstrip()
        asked = BYTES.encode(f" {answer}")
        ids = torch.tensor([[BYTES.eos_id, *BYTES.encode(before), *asked]])
        labels = ids.clone()
        labels[:, : -len(asked)] = -100
        with torch.no_grad():
            expected.append(-float(folder.model(ids, labels=labels).loss) * len(asked))
    np.testing.assert_allclose(scores(learner, rows), expected, rtol=1e-4)


ONCE = LAYOUTS | {"relative positions": (T5Decoder, CausalLm), "prefix": (T5Decoder, PrefixLm)}


@pytest.mark.parametrize("layout", ONCE)
def test_what_is_read_once_for_several_changes_nothing(layout, monkeypatch):
    """Two labels of one token each, after the same shots: each question is read once, the shots once for all."""
    kind, objective = ONCE[layout]
    template = Template(prompts=TEMPLATE.prompts, answers=["eta", "zeta"])
    _, learner, _ = asker(kind=kind, objective=objective, shots=2, template=template)
    rows, tokens = some_rows(6), []

    def note(_, __, inputs):
        tokens.append(inputs["input_ids"].numel())

    learner.model.register_forward_pre_hook(note, with_kwargs=True)
    fast = scores(learner, rows, 10_000)
    num_read, tokens[:] = sum(tokens), []
    monkeypatch.setattr("lmlab.formulations.asker.read_alike", lambda units: [[unit] for unit in units])
    monkeypatch.setattr(type(learner), "reads_on", False)
    np.testing.assert_allclose(fast, scores(learner, rows, 10_000), rtol=1e-4)
    if objective is CausalLm:
        _, found = told(learner, rows)
        beginning, lengths = found[0].texts[0].common, [each.texts[0].length for each in found]
        assert num_read == beginning + len(rows) * (max(lengths) - beginning)
    else:
        assert num_read == sum(tokens) / 2


def test_a_text_is_predicted_after_its_shots():
    shots = [{"id": "s", "inputs": {"text": "eta"}, "target": ["theta"]}]
    task = TextTask(shots=shots)
    template = Template(prompts=["{text} is"])
    formulation, learner, trained = asker(task, template=template, shots=1)
    rows = [{"id": "q", "inputs": {"text": "alpha"}, "target": ["beta gamma", "nothing"]}]
    before, ids = WORD_PIECES.encode("eta is theta alpha is"), WORD_PIECES.encode("beta gamma")
    table = log_probabilities(trained, [END, *before, *ids])
    expected = -np.mean([table[len(before) + i, id] for i, id in enumerate(ids)])
    answers = formulation.answer(learner, rows, 64)
    assert answers.loss == pytest.approx(expected, rel=1e-4)
    rows[0]["target"] = [WORD_PIECES.decode([table[len(before)].argmax()])]  # what it would write
    assert formulation.answer(learner, rows, 64).predictions == rows[0]["target"]


# ---- calibration


def biased(learner, label, liking):
    """The learner with a model that likes the word of a label, whatever it reads, and else tells beta from zeta."""
    words, told = ([BYTES.encode(f" {name}")[0] for name in pair] for pair in (["eta", "theta"], ["beta", "zeta"]))

    def logits(input_ids, positions):
        found = torch.zeros(*input_ids.shape, learner.model.vocab_size)
        for number, (word, tells) in enumerate(zip(words, told, strict=True)):
            found[..., word] = 2.0 * (input_ids == tells).cummax(1).values + liking * (number == label)
        return found.flatten(0, 1)[positions]

    learner.model.forward = logits
    learner.heads["vocabulary"].forward = lambda hidden: hidden
    return learner


@pytest.mark.parametrize("label", [0, 1])
def test_calibration_takes_out_a_planted_liking(label):
    template = Template(prompts=["{text} ?"], answers=["eta", "theta"])
    rows = [row(i, "kappa " + ["beta", "zeta"][i % 2], i % 2) for i in range(10)]
    accuracies, losses = [], []
    for calibrate in (False, True):
        formulation, learner, _ = asker(template=template, tokenizer=BYTES, calibrate=calibrate)
        answers = formulation.answer(biased(learner, label, liking=5.0), rows, 64)
        accuracies.append(Task().score(answers.predictions, [LABELS[each["target"]] for each in rows])["accuracy"])
        losses.append(answers.loss)
    assert accuracies == [0.5, 1.0]
    assert losses[1] == pytest.approx(np.log1p(np.exp(-2.0)), abs=1e-4)  # what is told, and nothing else
    assert losses[0] > 1


def test_what_calibration_divides_by():
    """q is in proportion to p / p_cf, and p_cf the mean over the texts without content, after the same shots."""
    rows = some_rows(4)
    texts = ["N/A", "", "kappa"]
    formulation, learner, _ = asker(shots=2, calibrate=True, content_free=texts)
    plain = scores(learner, rows).reshape(-1, 2)
    free = scores(learner, [row(i, text, 0) for i, text in enumerate(texts)]).reshape(-1, 2)
    p, p_cf = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (plain, free))
    q = p / p_cf.mean(0)
    answers = formulation.answer(learner, rows, 64)
    assert answers.predictions == [LABELS[i] for i in q.argmax(1)]
    of_right = (q / q.sum(1, keepdims=True))[np.arange(4), [each["target"] for each in rows]]
    assert answers.loss == pytest.approx(-np.log(of_right).mean(), rel=1e-3)


# ---- several orders and prompts


def test_the_spread_is_that_of_all_orders_and_prompts():
    rows, shots = some_rows(30), some_rows(20, seed=1)
    formulation, learner, _ = asker(Task(shots=shots), shots=3, orders=3, prompts="all", calibrate=True)
    found = []
    for prompts, seed in product([0, 1], [0, 1, 2]):
        alone, one, _ = asker(Task(shots=shots), shots=3, orders=3, prompts=prompts, calibrate=True)
        one.orders = one.orders[seed : seed + 1]
        answers = alone.answer(one, rows, 512)
        assert not answers.metrics
        found.append(answers)
    accuracies = [Task().score(each.predictions, [LABELS[r["target"]] for r in rows])["accuracy"] for each in found]
    answers = formulation.answer(learner, rows, 512)
    assert answers.predictions == found[0].predictions and answers.loss == pytest.approx(found[0].loss)
    assert answers.metrics == pytest.approx({
        "accuracy_mean": np.mean(accuracies), "accuracy_std": np.std(accuracies, ddof=1),
        "accuracy_min": min(accuracies), "accuracy_max": max(accuracies),
    })  # fmt: skip
    assert len(set(accuracies)) > 1


# ---- what cannot be asked


MISTAKES = {
    "shots": ({"shots": 21}, "formulation.shots=21: task 't' has 20 training rows; take at most so many"),
    "negative": ({"shots": -1}, "formulation.shots=-1"),
    "orders": ({"orders": 0}, "formulation.orders=0 must be at least 1"),
    "prompts": ({"prompts": 2}, "formulation.prompts=2: the template of task 't' has the prompts 0 to 1"),
    "nothing": ({"calibrate": True, "content_free": []}, "formulation.content_free="),
    "slot": ({"template": Template(prompts=["{texd}"])}, "{texd} is no slot of task 't', did you mean 'text'"),
    "labels": ({"template": Template(answers=["a"])}, "template.answers has 1 texts for 2 labels: yes, no"),
    "twins": ({"template": Template(answers=["a", "a"])}, "template.answers: labels 'no' and 'yes' have the same"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(mistake):
    options, message = MISTAKES[mistake]
    with pytest.raises(UserError) as told_of:
        asker(**options)
    assert message in str(told_of.value)


def test_what_cannot_be_asked_is_told():
    alone = Task(train_split=None)
    with pytest.raises(UserError, match=r"shots=2: task 't' has no training rows.*take formulation.shots=0"):
        asker(alone, shots=2)
    asker(alone)
    for key in ("balanced", "calibrate"):
        with pytest.raises(UserError, match=rf"{key}=true: the answers of task 't' \(text\) are no labels"):
            asker(TextTask(shots=[]), **{key: True})
    with pytest.raises(UserError, match="bleu of task 't' would score what is copied"):
        asker(TextTask(shots=[], metrics=["bleu"]))
    formulation, learner, _ = asker(shots=3, context=20)
    with pytest.raises(UserError, match=r"row row-7: without any shot .* of \d\d tokens, .* context has 20 positions"):
        formulation.answer(learner, [row(7, " ".join(WORDS), 0)], 64)
    with pytest.raises(UserError, match="formulation=in_context trains nothing"):
        formulation.batches(learner, [], 64, 0)
    with pytest.raises(UserError, match="formulation=in_context asks a pre-trained model"):
        InContext().learner(learner.model, Task(shots=[]), WORD_PIECES, learner.heads)
