"""formulation=sequence from the command line, at toy size: every layout writes, is scored again, and resumes."""

import json

import pytest
from test_evaluate import evaluate
from test_finetune import TEXT, TINY, lmlab, only, place  # noqa: F401

FORMS = {
    "bert in place": ["model=bert"],
    "bert on top": ["model=bert", "formulation.encoder_generates=on_top"],
    "gpt": ["model=gpt"],
    "t5": ["model=t5"],
}
STEPS = [
    "init=random", "seq_len=32", "formulation.max_target_length=16", "optimizer.lr=1e-2", "trainer.max_epochs=null",
    "trainer.eval_every=null", "schedule=constant",
]  # fmt: skip


@pytest.fixture
def writing(place):  # noqa: F811
    """The words of a task: from a line of the text its colour and its animal."""
    lines = TEXT.splitlines()
    rows = [{"source": line, "target": " ".join(line.split()[1:3])} for line in lines]
    for name in ("train", "validation"):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ["task=jsonl_text", f"task.train={place}/train.jsonl", f"task.validation={place}/validation.jsonl"]
    return [*files, "task.metrics=[accuracy]", "corpus=text", f"corpus.path={place}/text.txt", *STEPS, *TINY]


def finished(run):
    return json.loads((run / "summary.json").read_text())["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("form", FORMS)
def test_the_figures_of_a_run_come_out_again(form, precision, place, lmlab, writing):  # noqa: F811
    words = [*writing, *FORMS[form], f"trainer.precision={precision}", "trainer.max_steps=8"]
    code, _, told = lmlab("finetune", *words)
    assert code == 0, told
    run = only("outputs/finetune/*/*", place)
    result = evaluate(lmlab)
    assert result["metrics"] == finished(run)
    assert (place / result["written_to"] / "predictions.jsonl").read_text() == (run / "predictions.jsonl").read_text()


@pytest.mark.slow
def test_what_is_learnt_is_written_and_may_be_decoded_otherwise(place, lmlab, writing):  # noqa: F811
    larger = ["model=t5", "model.hidden_size=32", "model.dropout=0", "trainer.max_steps=300"]
    code, _, told = lmlab("finetune", *writing, *larger)
    assert code == 0, told
    run = only("outputs/finetune/*/*", place)
    assert finished(run)["accuracy"] > 0.3  # one of sixteen by chance
    result = evaluate(lmlab, "formulation=sequence", "formulation.num_beams=4")
    assert result["metrics"]["loss"] == pytest.approx(finished(run)["loss"], rel=1e-5)
    short = evaluate(lmlab, "formulation=sequence", "formulation.max_target_length=1")
    records = (place / short["written_to"] / "predictions.jsonl").read_text().splitlines()
    assert max(len(json.loads(line)["prediction"].split()) for line in records) <= 1
    other = ["task=jsonl_text", f"task.validation={place}/validation.jsonl", "task.metrics=[accuracy]"]  # its own rows
    assert evaluate(lmlab, *other, "formulation.num_beams=4")["metrics"] == result["metrics"]
    for argument in ("formulation.num_decoder_layers=2", "formulation=head", "formulation=likelihood"):
        code, _, told = lmlab("evaluate", f"run={run}", *other, argument)
        assert code == 1 and "leave out formulation, all but formulation.max_target_length" in told, told
    code, _, told = lmlab("evaluate", f"run={run}", "formulation=sequence", "formulation.num_beams=0")
    assert code == 1 and "num_beams=0 must be at least 1" in told


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights(place, lmlab, writing):  # noqa: F811
    words = [*writing, *FORMS["bert on top"]]
    whole, part = place / "whole", place / "part"
    assert lmlab("finetune", *words, "trainer.max_steps=7", f"hydra.run.dir={whole}")[0] == 0
    assert lmlab("finetune", *words, "trainer.max_steps=4", f"hydra.run.dir={part}")[0] == 0
    code, _, told = lmlab("finetune", *words, f"resume={part}", "trainer.max_steps=7")
    assert code == 0, told
    weights = [(run / "checkpoints" / "step-000007" / "model.safetensors").read_bytes() for run in (whole, part)]
    assert weights[0] == weights[1]


def test_a_decoder_on_top_learns_over_a_frozen_encoder(place, lmlab, writing):  # noqa: F811
    code, _, told = lmlab("finetune", *writing, *FORMS["bert on top"], "tuning=frozen", "trainer.max_steps=8")
    assert code == 0, told
    summary = json.loads((only("outputs/finetune/*/*", place) / "summary.json").read_text())
    assert 0 < summary["parameters"]["trainable"] < summary["parameters"]["total"]
    assert evaluate(lmlab)["metrics"] == summary["metrics"]
    code, _, told = lmlab("finetune", *writing, "model=gpt", "tuning=frozen", "trainer.max_steps=8")
    assert code == 1 and "nothing to learn" in told
