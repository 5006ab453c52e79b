"""Templates: rows written into patterns, and those of all tasks that bring some."""

import re
from types import SimpleNamespace

import pytest

from lmlab.config import conf_dir
from lmlab.config.build import build
from lmlab.config.schema import compose
from lmlab.errors import UserError
from lmlab.formulations.template import Template, refuse_twins, usual_prompt, usual_source

BROUGHT = re.compile(r"- override /template@_global_.template: (\w+)")
TASKS = {
    path.stem: found[1]
    for path in sorted((conf_dir() / "task").glob("*.yaml"))
    if (found := BROUGHT.search(path.read_text()))
}  # task: template
TASK = SimpleNamespace(kind="choice", name="t", fields=["premise", "question"])
ROW = {
    "id": "7",
    "inputs": {"premise": "It rained. ", "question": "effect", "choices": ["The sun, he?", "I got wet."]},
}
CONNECTIVE = {"connective": {"column": "question", "words": {"cause": "because", "effect": "so"}}}


@pytest.mark.parametrize("name", TASKS)
def test_a_template_fits_its_task(name):
    config = compose("finetune", [f"task={name}"])
    task, template = build(config.task), build(config.template)
    labels = getattr(task, "labels", None)
    template.pattern(template.source, "source", task)
    for text in template.prompts:
        template.pattern(text, "prompts", task)
    for text in template.patterns:
        template.pattern(text, "patterns", task, blanks=1)
    for key, words in (("targets", template.targets), ("answers", template.answers)):
        if words:
            refuse_twins(key, words, labels or task.choices)
    words = template.verbalizers or []
    per_pattern = bool(words) and isinstance(words[0], list)
    assert bool(words) == (bool(template.patterns) and labels is not None)
    assert not per_pattern or len(words) == len(template.patterns)
    for each in words if per_pattern else [words] if words else []:
        refuse_twins("verbalizers", each, labels)


def test_every_template_is_brought_by_a_task_and_tasks_inherit_theirs():
    names = {path.stem for path in (conf_dir() / "template").glob("*.yaml")}
    assert names == {*TASKS.values(), "own"}
    for name, parent in (("fewglue_rte", "rte"), ("xquad.de", "squad")):
        assert compose("finetune", [f"task={name}"]).template == compose("finetune", [f"task={parent}"]).template
    assert compose("finetune", ["task=pos"]).template is None


def test_the_command_line_wins_and_fills_an_empty_one():
    assert build(compose("finetune", ["task=sst2", "template=own"]).template) == Template()
    given = ["template.patterns=['{text} It was {blank}.']", "template.verbalizers=[bad,good]"]
    template = build(compose("finetune", ["task=csv", "template=own", *given]).template)
    assert template == Template(patterns=["{text} It was {blank}."], verbalizers=["bad", "good"])


@pytest.mark.parametrize(("text", "said"), [
    ("{premise}", "It rained. "),
    ("{premise:bare}, {connective}", "It rained, so"),
    ("{choice1:inner} or {choice2}", "the sun, he or I got wet."),
    ("of {choices}", "of The sun, he?, I got wet."),
    ("{choice3}.", "."),
    ("a {b} c", None),
    ("{premise} || {question}", "It rained. effect"),
])  # fmt: skip
def test_a_row_is_written_into_a_pattern_and_its_parts_are_known(text, said):
    template = Template(slots=CONNECTIVE)
    if said is None:
        with pytest.raises(UserError, match=r"at: \{b\} is no slot of task 't'"):
            template.pattern(text, "at", TASK)
        return
    rendered = template.pattern(text, "at", TASK).render(ROW)
    assert rendered.text == said
    inputs = {*ROW["inputs"]["choices"], ", ".join(ROW["inputs"]["choices"]), ROW["inputs"]["premise"], "effect"}
    for begin, end in rendered.fields:
        part = rendered.text[begin:end]
        assert any(part.lower() in each.lower() for each in inputs)
    assert rendered.text[rendered.segment or 0 :].startswith("effect") == ("||" in text)


def test_the_blank_stands_where_the_pattern_or_the_column_has_it():
    template = Template(placeholder="@x")
    row = {"id": "0", "inputs": {"query": "who is @x of @x", "passage": "p"}}
    task = SimpleNamespace(kind="choice", name="t", fields=["query", "passage"])
    rendered = template.pattern("{passage}: {query}", "at", task, blanks=1).render(row)
    assert (rendered.text, rendered.blank) == ("p: who is  of @x", len("p: who is "))
    rendered = template.pattern("{passage} {blank}!", "at", task, blanks=1).render(row)
    assert (rendered.text, rendered.blank) == ("p !", 2)
    assert template.pattern("{query}", "at", task).render(row).text == "who is @x of @x"  # as text to text reads it


@pytest.mark.parametrize(("text", "blanks", "message"), [
    ("{premise}", 1, r"must have 1 \{blank\}, and has 0"),
    ("{blank} {blank}", 1, r"must have 1 \{blank\}, and has 2"),
    ("{blank}", 0, r"must have no \{blank\}, and has 1"),
    ("{premises}", 0, "did you mean 'premise'"),
    ("{premise:inne}", 0, "did you mean 'inner'"),
])  # fmt: skip
def test_patterns_that_cannot_be_are_refused(text, blanks, message):
    with pytest.raises(UserError, match=message):
        Template().pattern(text, "at", TASK, blanks)


def test_words_that_do_not_tell_labels_apart_are_refused():
    with pytest.raises(UserError, match="at has 1 texts for 2 labels"):
        refuse_twins("at", ["x"], ["a", "b"])
    with pytest.raises(UserError, match="labels 'a' and 'c' have the same word 'x'"):
        refuse_twins("at", ["x", "y", "x"], ["a", "b", "c"])


def test_a_slot_needs_a_word_for_each_value():
    with pytest.raises(UserError, match=r"template.slots.s must say column: NAME, words"):
        Template(slots={"s": {"column": "question"}})
    pattern = Template(slots=CONNECTIVE).pattern("{connective}", "at", TASK)
    with pytest.raises(UserError, match=r"slots.connective: none for 'why' \(row 7\), but for cause, effect"):
        pattern.render({"id": "7", "inputs": {"question": "why"}})


def test_a_task_without_a_template_has_its_columns():
    assert usual_source(TASK) == "t premise: {premise} question: {question} choices: {choices}"
    assert usual_prompt(TASK) == "premise: {premise}\nquestion: {question}\nanswer:"
