"""lmlab evaluate: a fine-tuned run scores as it did at its end; a pre-trained one on held-out text."""

import json
import math

import pytest
from test_finetune import TEXT, TINY, lmlab, only, place, words  # noqa: F401


def book(place):  # noqa: F811
    """30 documents of 16 sentences, to train on and to be asked about."""
    document = "\n".join(f"{line.capitalize()}." for line in TEXT.splitlines())
    (place / "book.txt").write_text("\n\n".join([document] * 30))
    files = ["corpus.path=book.txt", "corpus.validation_path=book.txt"]
    return ["corpus=text", *files, "corpus.document=blank_line"]


def evaluate(lmlab, *arguments):  # noqa: F811
    code, shown, told = lmlab("evaluate", "format=json", *arguments)
    assert code == 0, told
    return json.loads(shown)  # one object and nothing else


PAIRS = """# Which of two sentences?
defaults: [override /formulation@_global_.formulation: likelihood, _self_]
_target_: lmlab.tasks.choice.Choice
name: pairs
source: pairs
fields: []
choices: [good, bad]
target: null
metrics: [accuracy]
"""
LAST = """# The last word
_target_: lmlab.tasks.generation.LastWord
name: last
source: last
fields: [text]
metrics: [accuracy]
"""


@pytest.fixture
def likely(place):  # noqa: F811
    """Tasks about the text that `place` has for pre-training, the folder of their YAML files first."""
    lines = TEXT.splitlines()
    mixed = [" ".join(reversed(line.split())) for line in lines]
    rows = {"pairs": [{"good": g, "bad": b} for g, b in zip(lines, mixed, strict=True)]}
    rows["last"] = [{"text": line} for line in lines]
    (place / "own" / "task").mkdir(parents=True)
    for name, yaml in {"pairs": PAIRS, "last": LAST}.items():
        (place / "own" / "task" / f"{name}.yaml").write_text(yaml)
        (place / "data" / name).mkdir(parents=True)
        content = "".join(json.dumps(row) + "\n" for row in rows[name])
        (place / "data" / name / "validation.jsonl").write_text(content)
    return ["--config-dir", str(place / "own"), f"data_dir={place}/data"]


ASKED = {"gpt": "causal_lm", "bert": "mlm", "t5": "span_corruption"}


@pytest.mark.slow
@pytest.mark.parametrize("model", ASKED)
def test_a_pretrained_run_says_what_is_likely(model, place, lmlab, likely):  # noqa: F811
    corpus = ["corpus=text", f"corpus.path={place}/text.txt"]
    steps = ["seq_len=32", "trainer.max_steps=40", "trainer.batch_tokens=512", "trainer.eval_every=null"]
    words = [f"model={model}", f"objective={ASKED[model]}", "optimizer.lr=1e-2", "schedule.warmup_steps=5"]
    code, _, told = lmlab("pretrain", *words, *corpus, *steps, *TINY)
    assert code == 0, told
    result = evaluate(lmlab, *likely, "task=pairs")
    assert result["task"] == "pairs" and result["metrics"]["accuracy"] > 0.8
    written = place / result["written_to"]
    assert json.loads((written / "summary.json").read_text())["formulation"] == "likelihood"
    records = [json.loads(line) for line in (written / "predictions.jsonl").read_text().splitlines()]
    right = [record["prediction"] in record["references"] for record in records]
    assert sum(right) / len(right) == result["metrics"]["accuracy"]

    result = evaluate(lmlab, *likely, "task=last")  # the YAML names no formulation
    metrics = result["metrics"]
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    assert metrics["word_perplexity"] >= metrics["perplexity"]  # a word is one token or more
    records = [
        json.loads(line) for line in (place / result["written_to"] / "predictions.jsonl").read_text().splitlines()
    ]
    right = [record["prediction"] in record["references"] for record in records]
    assert sum(right) / len(right) == metrics["accuracy"]

    code, _, told = lmlab("evaluate", *likely, "task=pairs", "seq_len=16")
    assert code == 1 and "leave out seq_len" in told
    code, _, told = lmlab("finetune", *likely, "task=pairs", "formulation=likelihood")
    assert code == 1 and "trains nothing; evaluate with: lmlab evaluate run=... task=pairs" in told


def test_a_run_without_words_is_not_asked(place, lmlab, likely):  # noqa: F811
    steps = ["seq_len=32", "trainer.max_steps=2", "trainer.batch_tokens=256", "trainer.eval_every=null"]
    code, _, told = lmlab("pretrain", "objective=nsp", *book(place), *steps, *TINY)
    assert code == 0, told
    code, _, told = lmlab("evaluate", *likely, "task=pairs")
    assert code == 1 and "Nsp, which asks for no tokens" in told


@pytest.mark.real_data
@pytest.mark.parametrize("task", ["blimp", "lambada"])
def test_real_minimal_pairs_and_last_words(task, place, data_dir, lmlab):  # noqa: F811
    corpus = ["corpus=text", f"corpus.path={place}/text.txt"]
    steps = ["seq_len=64", "trainer.max_steps=2", "trainer.batch_tokens=256", "trainer.eval_every=null"]
    code, _, told = lmlab("pretrain", "model=gpt", "objective=causal_lm", *corpus, *steps, *TINY)
    assert code == 0, told
    result = evaluate(lmlab, f"task={task}", f"data_dir={data_dir}", "task.max_evaluation_rows=40")
    assert 0 <= result["metrics"]["accuracy"] <= 1 and result["metrics"]["loss"] > 0
    assert len((place / result["written_to"] / "predictions.jsonl").read_text().splitlines()) == 40


def test_a_finetuned_run_scores_as_it_did_at_its_end(place, lmlab):  # noqa: F811
    code, _, told = lmlab("finetune", *words(place), "init=random", "trainer.max_steps=8", "trainer.eval_every=4")
    assert code == 0, told
    run = only("outputs/finetune/*/*", place)
    result = evaluate(lmlab, f"data_dir={place}/data")
    assert result["task"] == "sst2"
    finished = json.loads((run / "summary.json").read_text())["metrics"]
    assert result["metrics"] == pytest.approx(finished, rel=1e-4)
    assert (place / result["written_to"] / "predictions.jsonl").read_text() == (run / "predictions.jsonl").read_text()
    code, _, told = lmlab("evaluate", "task=pydocs_topic")
    assert code == 1 and "concurrency" in told
    code, _, told = lmlab("evaluate", "task=stsb")
    assert code == 1 and "same kind" in told
    code, _, told = lmlab("evaluate", "task=sst2", "formulation=likelihood")
    assert code == 1 and "leave out formulation" in told
    code, _, told = lmlab("evaluate", "formulation=likelihood")
    assert code == 1 and "name the task too" in told


def test_a_run_in_bf16_scores_as_it_did_at_its_end(place, lmlab):  # noqa: F811
    steps = ["init=random", "trainer.precision=bf16", "trainer.max_steps=8", "trainer.eval_every=4"]
    code, _, told = lmlab("finetune", *words(place), *steps)
    assert code == 0, told
    finished = json.loads((only("outputs/finetune/*/*", place) / "summary.json").read_text())["metrics"]
    assert evaluate(lmlab, f"data_dir={place}/data")["metrics"] == pytest.approx(finished, rel=1e-4)
    assert evaluate(lmlab, f"data_dir={place}/data", "precision=fp32")["metrics"]["loss"] != finished["loss"]


def test_latest_is_the_newest_run_that_can_be_asked(place, lmlab):  # noqa: F811
    steps = ["init=random", "trainer.max_steps=2", "task.max_evaluation_rows=8"]
    files = [f"task.{split}={place}/data/glue-sst2/{split}.jsonl" for split in ("train", "validation")]
    values = ["task=jsonl_regression", *files, "task.fields=[sentence]", "task.target=label"]
    pretrain = ["objective=mlm", "corpus=text", f"corpus.path={place}/text.txt", "seq_len=32", "trainer.max_steps=2"]
    for command, *arguments in (
        ("finetune", *words(place), *steps),
        ("finetune", *words(place), *values, *steps),
        ("pretrain", *pretrain, *TINY, "trainer.batch_tokens=256", "trainer.eval_every=null"),
    ):
        code, _, told = lmlab(command, *arguments)
        assert code == 0, told
    data = f"data_dir={place}/data"
    classified, valued, trained = (
        evaluate(lmlab, *arguments)["run"] for arguments in (["task=sst2", data], values, ["objective=mlm"])
    )
    tasks = [json.loads((place / run / "summary.json").read_text())["task"] for run in (classified, valued)]
    assert tasks == ["sst2", "jsonl_regression"]
    assert evaluate(lmlab)["run"] == trained and "pretrain" in trained


def test_a_file_of_ones_own_is_asked_by_likelihood(place, lmlab):  # noqa: F811
    corpus = ["corpus=text", f"corpus.path={place}/text.txt"]
    steps = ["seq_len=32", "trainer.max_steps=3", "trainer.batch_tokens=256", "trainer.eval_every=null"]
    code, _, told = lmlab("pretrain", "model=gpt", "objective=causal_lm", *corpus, *steps, *TINY)
    assert code == 0, told
    rows = [{"question": "the red dog", "choices": ["runs over", "over runs the"], "label": 0}] * 3
    (place / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ["task=jsonl_choice", "task.validation=choices.jsonl"]
    plain, by_bytes = (
        evaluate(lmlab, *asked, *how) for how in ([], ["formulation=likelihood", "formulation.normalise=bytes"])
    )
    assert 0 < by_bytes["metrics"]["loss"] < plain["metrics"]["loss"] or plain["metrics"]["accuracy"] == 1
    code, _, told = lmlab("evaluate", "task=jsonl_choice")
    assert code == 1 and "no data yet" in told
    code, _, told = lmlab("evaluate", *asked, "formulation.max_length=8")
    assert code == 1 and "formulation=head or formulation=sequence" in told
    (place / "texts.jsonl").write_text(json.dumps({"source": "the red dog", "target": "runs over"}) + "\n")
    texts = ["task=jsonl_text", "task.validation=texts.jsonl", "formulation=likelihood"]
    code, _, told = lmlab("evaluate", *texts)
    assert code == 1 and "bleu, chrf" in told and "formulation=sequence" in told
    assert evaluate(lmlab, *texts, "task.metrics=[exact_match]")["metrics"]["perplexity"] > 1


@pytest.mark.slow
def test_the_head_of_a_published_model_reads_what_is_asked(place, lmlab):  # noqa: F811
    pytest.importorskip("transformers")
    code, _, told = lmlab("finetune", *words(place), "init=random", "trainer.max_steps=3", "model.num_layers=4")
    assert code == 0, told
    code, _, told = lmlab("export", "to=published")
    assert code == 0, told
    asked = ["run=hf:published", "task=sst2", f"data_dir={place}/data"]
    token = evaluate(lmlab, *asked)["metrics"]["loss"]
    assert evaluate(lmlab, *asked, "formulation=head")["metrics"]["loss"] == token
    mean = evaluate(lmlab, *asked, "formulation=head", "formulation.pooling=mean")["metrics"]["loss"]
    assert mean != pytest.approx(token, rel=1e-4)
    for arguments, message in {
        (
            "formulation=head",
            "formulation.pooling=last_four",
        ): "reads 64 numbers of a text; the head of hf:published 16",
        ("formulation=head", "formulation.pairs=apart", "formulation.pooling=four"): "pooling must be one of",
        ("formulation=sequence",): "take formulation=head, not sequence",
    }.items():
        code, _, told = lmlab("evaluate", *asked, *arguments)
        assert code == 1 and message in told, told


def test_a_causal_run_is_scored_on_its_held_out_text(place, lmlab):  # noqa: F811
    corpus = ["corpus=text", f"corpus.path={place}/text.txt"]
    steps = ["seq_len=32", "trainer.max_steps=3", "trainer.batch_tokens=256", "trainer.eval_every=null"]
    code, _, told = lmlab("pretrain", "model=gpt", "objective=causal_lm", *corpus, *steps, *TINY)
    assert code == 0, told
    result = evaluate(lmlab)
    metrics = result["metrics"]
    assert result["task"] is None
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    assert 0 < metrics["bits_per_byte"] < metrics["loss"] / math.log(2)  # a token is longer than a byte here
    for formulation in ([], ["formulation=head"], ["formulation=likelihood"]):  # whichever is named: it has no labels
        code, _, told = lmlab("evaluate", "task=sst2", f"data_dir={place}/data", *formulation)
        assert code == 1 and "lmlab finetune" in told


def test_a_pretrained_run_is_asked_another_question(place, lmlab):  # noqa: F811
    steps = ["seq_len=32", "trainer.max_steps=3", "trainer.batch_tokens=256", "trainer.eval_tokens=null"]
    code, _, told = lmlab("pretrain", "objective=mlm_nsp", *book(place), *steps, *TINY)
    assert code == 0, told
    trained = json.loads(only("outputs/pretrain/*/*/summary.json", place).read_text())["metrics"]
    assert evaluate(lmlab)["metrics"] == pytest.approx(trained, rel=1e-4)
    assert evaluate(lmlab, "objective=nsp")["metrics"]["accuracy"] == pytest.approx(trained["nsp_accuracy"])
    order = evaluate(lmlab, "objective=sop")
    assert order["objective"] == "sop" and set(order["metrics"]) == {"loss", "accuracy"}
    few, many = (evaluate(lmlab, "objective=mlm", f"corruption.rate={rate}")["metrics"] for rate in (0.15, 0.6))
    assert few["loss"] != many["loss"]
    part = evaluate(lmlab, "corruption=whole_word", "max_tokens=640", "seq_len=64")
    assert part["corruption"] == "whole_word" and part["metrics"]["nsp_loss"] > 0  # its own objective

    for arguments, message in {
        ("objective=rtd",): "which the model was trained without; it has ",
        ("objective=span_corruption",): "layout",
        ("objective=mlm", "corruption=deletion"): "keep the length",
        ("seq_len=600",): "512 positions",
        ("max_tokens=0",): "max_tokens",
    }.items():
        code, shown, told = lmlab("evaluate", "format=json", *arguments)
        assert code == 1 and shown == "" and message in told, told
