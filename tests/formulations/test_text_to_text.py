"""Any task as text to text: the paper's strings, every kind learnt by every layout, and what counts as an answer."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lmlab.config.build import build
from lmlab.config.schema import compose
from lmlab.errors import UserError
from lmlab.formulations.template import Template
from lmlab.formulations.text_to_text import TextToText
from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.tasks.choice import Choice
from lmlab.tasks.classification import Classification
from lmlab.tasks.regression import Regression
from lmlab.text.tokenizers import Byte, WordPiece

BYTES = Byte().train()


def worded(task, template=None, tokenizer=BYTES, **settings):
    return TextToText(template, **settings).wording(task, tokenizer)


# --- the strings of the paper (appendix D; of the columns the beginnings)

PAPER = [
    ("cola", {"sentence": "John made Bill master of himself.", "label": 1},
     "cola sentence: John made Bill master of himself.", "acceptable"),
    ("rte", {"sentence1": "A smaller proportion.", "sentence2": "Slovenia has 3,000 inhabitants.", "label": 1},
     "rte sentence1: A smaller proportion. sentence2: Slovenia has 3,000 inhabitants.", "not_entailment"),
    ("mnli", {"premise": "yeah well losing is", "hypothesis": "The St. Louis Cardinals have always won.", "label": 2},
     "mnli hypothesis: The St. Louis Cardinals have always won. premise: yeah well losing is", "contradiction"),
    ("mrpc", {"sentence1": "We acted.", "sentence2": "Rather, the US acted.", "label": 1},
     "mrpc sentence1: We acted. sentence2: Rather, the US acted.", "equivalent"),
    ("qnli", {"question": "Where did Jebe die?", "sentence": "Genghis Khan recalled Subutai.", "label": 0},
     "qnli question: Where did Jebe die? sentence: Genghis Khan recalled Subutai.", "entailment"),
    ("qqp", {"question1": "What attributes?", "question2": "How?", "label": 0},
     "qqp question1: What attributes? question2: How?", "not_duplicate"),
    ("sst2", {"sentence": "it confirms fincher 's status", "label": 1},
     "sst2 sentence: it confirms fincher 's status", "positive"),
    ("stsb", {"sentence1": "Representatives.", "sentence2": "Puretunes.", "label": 3.25},
     "stsb sentence1: Representatives. sentence2: Puretunes.", "3.2"),
    ("stsb", {"sentence1": "a", "sentence2": "b", "label": 2.57}, "stsb sentence1: a sentence2: b", "2.6"),
    ("cb", {"premise": "Valence the void-brain", "hypothesis": "Valence was helping", "label": 1},
     "cb hypothesis: Valence was helping premise: Valence the void-brain", "contradiction"),
    ("copa", {"choice1": "Many citizens relocated.", "choice2": "Many took refuge.",
              "premise": "Political violence broke out.", "question": "effect", "label": 1},
     "copa choice1: Many citizens relocated. choice2: Many took refuge. premise: Political violence broke out. "
     "question: effect", "True"),
    ("multirc", {"question": "Why was Joey sad?", "answer": "There was only pie", "paragraph": "Once", "label": 1},
     "multirc question: Why was Joey sad? answer: There was only pie paragraph: Once", "True"),
    ("wic", {"word": "deliberation", "sentence1": "It was.", "sentence2": "The deliberations.", "label": 0},
     "wic sentence1: It was. sentence2: The deliberations. word: deliberation", "False"),
    ("squad", {"question": "What does oxygen displace?", "context": "with carbon monoxide",
               "answers": {"text": ["carbon monoxide", "carbon"], "answer_start": [5, 5]}},
     "question: What does oxygen displace? context: with carbon monoxide", "carbon monoxide"),
    ("multi30k", {"en": "Luigi often said.", "de": "Luigi sagte oft."},
     "translate English to German: Luigi often said.", "Luigi sagte oft."),
    ("scitldr", {"document": "marouane fellaini", "references": ["the belgian duo", "they"]},
     "summarize: marouane fellaini", "the belgian duo"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "raw", "source", "target"), PAPER, ids=lambda each: each if isinstance(each, str) else ""
)
def test_the_strings_are_those_of_the_paper(name, raw, source, target):
    config = compose("finetune", [f"task={name}", "formulation=text_to_text"])
    task, template = build(config.task), build(config.template)
    row, wording = task.parse(raw, "0", ""), worded(task, template)
    assert [text.text for text in wording.source(row)] == [source]
    assert wording.target(row) == target
    assert task.score([wording.prediction(row, target)], [task.reference(row)])  # read as it was written


def test_a_task_without_a_template_reads_its_columns_by_name():
    task = SimpleNamespace(kind="choice", name="riddle", fields=["question"], labels=None)
    row = {"id": "0", "inputs": {"question": "who?", "choices": ["she", "he"]}, "target": 1}
    wording = worded(task)
    assert wording.source(row)[0].text == "riddle question: who? choices: she, he"
    assert wording.target(row) == "he"


# --- every kind, every layout

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "True", "False", "0.2468", ":"]
TOKENIZER = WordPiece(vocab_size=400, num_sentinels=2).train([" ".join(WORDS)] * 3)
VOCABULARY = TOKENIZER.vocab_size + 3
SIZE = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64, "dropout": 0.0}
LEARNT = {"max_positions": 64, "attention_dropout": 0.0}
LAYOUTS = {
    "encoder-decoder": lambda: T5(VOCABULARY, TOKENIZER.pad_id, **SIZE, head_size=16),
    "decoder": lambda: Gpt(VOCABULARY, **SIZE, **LEARNT),
    "encoder": lambda: Bert(VOCABULARY, **SIZE, **LEARNT),
}


def of_kind(kind):
    """A task, its template, and eight rows of which no two have the same answer by chance alone."""
    task = SimpleNamespace(kind=kind, name="t", fields=["text"])
    texts = [" ".join(WORDS[(i + j) % 8] for j in range(3)) for i in range(8)]
    targets, template = list(range(8)), Template(source="read: {text}")
    if kind == "classification":
        task.labels, template.targets = ["wrong", "right"], ["False", "True"]
        targets = [i % 2 for i in range(8)]
    elif kind == "regression":
        targets = [round(0.2 * i, 1) for i in range(8)]
    elif kind == "text":
        targets = [[" ".join(WORDS[: 1 + i % 3])] for i in range(8)]
    elif kind == "span":
        targets = [{"text": [text.split()[0]] if i % 2 else [], "answer_start": []} for i, text in enumerate(texts)]
    else:
        task.choices, template.targets = ["a", "b"], ["False", "True"]
        targets = [i % 2 for i in range(8)]
    inputs = [{"text": text} | ({"choices": ["eta", "zeta"]} if kind == "choice" else {}) for text in texts]
    rows = [{"id": str(i), "inputs": inputs[i], "target": targets[i]} for i in range(8)]
    return task, template, rows


def right_answers(kind, rows, task):
    read = {
        "classification": lambda target: task.labels[target],
        "text": lambda target: target[0],
        "span": lambda target: next(iter(target["text"]), ""),
    }
    return [read.get(kind, lambda target: target)(row["target"]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", TextToText.fits)
def test_eight_examples_are_learnt_and_answered(kind, layout):
    task, template, rows = of_kind(kind)
    torch.manual_seed(0)
    formulation = TextToText(template, max_target_length=8)
    assert formulation.serves(kind, layout)
    learner = formulation.learner(LAYOUTS[layout](), task, TOKENIZER)
    batches = formulation.batches(learner, rows, 4000, 0, batch_size=8)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    for step in range(160):
        optimizer.zero_grad()
        for batch in batches.step(step):
            (learner(batch)["sequence"] / batch.counts["sequence"]).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
    answers = formulation.answer(learner, rows, 10_000)
    assert answers.loss < 0.05
    assert answers.predictions == right_answers(kind, rows, task)
    assert answers.metrics == ({} if kind in ("text", "span") else {"no_label": 0.0})


# --- what counts as an answer


def test_a_text_that_is_no_label_is_wrong_and_stays_as_it_is():
    task = Classification(name="t", fields=["text"], metrics=["accuracy"], labels=["bad", "good"], source="x")
    wording = worded(task, Template(source="{text}", targets=["False", "True"]))
    row = {"inputs": {"text": "x"}, "target": 1}
    texts = ["True", " True ", "False", "true", "Tru", "", "good"]
    predictions = [wording.prediction(row, text) for text in texts]
    assert predictions == ["good", "good", "bad", "true", "Tru", "", "…good"]  # the label's name was not its text
    assert wording.metrics(predictions) == {"no_label": 4 / 7}
    assert task.score(predictions, ["good"] * 7)["accuracy"] == 2 / 7


def test_a_tokenizer_without_capitals_changes_nothing():
    task = SimpleNamespace(kind="classification", name="t", fields=["text"], labels=["not_true", "True"])
    tokenizer = WordPiece(vocab_size=400).train(["not _ true"] * 3)
    wording, row = worded(task, tokenizer=tokenizer), {"inputs": {"text": "x"}, "target": 1}
    for index, label in enumerate(task.labels):
        ids = tokenizer.encode(wording.target(row | {"target": index}))
        assert wording.prediction(row, tokenizer.decode(ids)) == label


@pytest.mark.parametrize(("step", "value", "text"), [
    (0.2, 0.0, "0.0"), (0.2, -0.04, "0.0"), (0.2, 5.0, "5.0"), (0.2, 2.5, "2.4"), (0.2, 0.3, "0.4"), (0.2, 3.25, "3.2"),
    (0.2, 12.34, "12.4"), (1, 2.4, "2.0"), (0.25, 0.3, "0.25"), (0.01, -1.234, "-1.23"),
])  # fmt: skip
def test_numbers_are_rounded_to_a_step_half_to_even_and_not_clipped(step, value, text):
    task = SimpleNamespace(kind="regression", name="t", fields=["text"])
    wording = worded(task, step=step)
    assert wording.target({"target": value}) == text
    assert wording.prediction({}, text) == float(text)


def test_what_is_no_number_is_the_worst_answer():
    task = Regression(name="t", fields=["text"], metrics=["pearson"], source="x", low=0.0, high=5.0)
    wording, row = worded(task), {"inputs": {"text": "x"}, "target": 1.0}
    texts = ["3.8", "-1", "7.25", "3. 8", "- 0.4", "three", "", "nan", "inf", "3.8 3.8", "1e5"]
    numbers = [3.8, -1.0, 7.25, 3.8, -0.4]
    predictions = [wording.prediction(row, text) for text in texts]
    assert predictions == [*numbers, *texts[5:]]
    assert wording.metrics(predictions) == {"no_label": 6 / 11}
    references = [float(i) for i in range(5)]
    wrong = task.score([0.0, 1.0, 2.0, 3.0, "four"], references)
    assert wrong == task.score([0.0, 1.0, 2.0, 3.0, -1.0], references)


def test_a_text_that_is_no_choice_is_wrong_and_scored_by_its_words():
    task = Choice(name="t", fields=["q"], choices=["c"], metrics=["accuracy", "f1"], source="x")
    row = task.parse({"q": "who?", "c": ["the big man", "a dog"], "label": 0}, "0", "")
    wording = worded(task)
    predictions = [wording.prediction(row, text) for text in ("the big man", "a dog", "man", "nobody")]
    assert predictions == [0, 1, "man", "nobody"]
    assert wording.metrics(predictions) == {"no_label": 0.5}
    scores = task.score(predictions, [task.reference(row)] * 4)
    assert scores["accuracy"] == 0.25
    assert scores["f1"] == pytest.approx(100 * (1 + 2 / 3) / 4)  # "man" of "big man": precision 1, recall 1/2
    records = [task.record(row, prediction) for prediction in predictions]
    assert [record["prediction"] for record in records] == ["the big man", "a dog", "man", "nobody"]
    assert task.score_records(records) == scores
    placed = worded(task, Template(targets=["one", "two"]))
    assert [placed.prediction(row, text) for text in ("two", "a dog")] == [1, "…a dog"]


# --- what cannot be


def two_labels(**texts):
    task = SimpleNamespace(kind="classification", name="t", fields=["text"], labels=["bad", "good"])
    return task, Template(**texts)


@pytest.mark.parametrize(("texts", "settings", "message"), [
    ({"source": "t {txt}"}, {}, r"template.source: \{txt\} is no slot of task 't', did you mean 'text'"),
    ({"source": "t {text:bre}"}, {}, r"\{text:bre\} is no form, did you mean 'bare'"),
    ({"source": "t || {text}"}, {}, r"has a \|\|, which is for patterns of cloze"),
    ({"source": "{text} {blank}"}, {}, r"must have no \{blank\}"),
    ({"targets": ["no"]}, {}, "template.targets has 1 texts for 2 labels: bad, good"),
    ({"targets": ["eta", "eta"]}, {}, "labels 'bad' and 'good' have the same word 'eta'"),
    ({"targets": ["Eta", "eta"]}, {}, r"as the tokenizer writes them\): labels 'bad' and 'good' have the same"),
    ({"targets": ["eta", "日"]}, {}, "has no token for all of '日', which stands for label 'good'"),
    ({"targets": ["eta", "eta zeta"]}, {"max_target_length": 2}, "'eta zeta' has 2 tokens, .*=2 has room for 1"),
    ({}, {"step": 0}, "step=0 must be above 0"),
])  # fmt: skip
def test_what_cannot_be_is_refused(texts, settings, message):
    task, template = two_labels(**texts)
    with pytest.raises(UserError, match=message):
        worded(task, template, TOKENIZER, **settings)


def test_places_for_choices_are_counted_and_differ():
    task = SimpleNamespace(kind="choice", name="t", fields=["text"])
    row = {"id": "train-7", "inputs": {"text": "x", "choices": ["a", "b", "c"]}, "target": 2}
    with pytest.raises(UserError, match=r"targets has 2 texts, and row train-7 has 3 choices"):
        worded(task, Template(targets=["one", "two"])).target(row)
    with pytest.raises(UserError, match="'choice1' and 'choice2' have the same word 'one'"):
        worded(task, Template(targets=["one", "one"]))


def test_an_encoder_is_not_asked_to_write_before_it_has_learnt_to():
    assert TextToText.answers_untrained
    task, template = two_labels(targets=["eta", "zeta"])
    asked = TextToText(template, asks=object(), max_target_length=8)
    asked.learner(LAYOUTS["decoder"](), task, TOKENIZER)
    with pytest.raises(UserError, match=re.escape("an encoder has not learnt to write in its pre-training")):
        asked.learner(LAYOUTS["encoder"](), task, TOKENIZER)
