"""lmlab evaluate: a fine-tuned run scores as it did at its end; a pre-trained one on held-out text."""

import json
import math

import pytest
from test_finetune import TINY, lmlab, only, place, words  # noqa: F401


def evaluate(lmlab, *arguments):  # noqa: F811
    code, shown, told = lmlab("evaluate", "format=json", *arguments)
    assert code == 0, told
    return json.loads(shown)  # one object and nothing else


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
    code, _, told = lmlab("evaluate", "task=sst2", f"data_dir={place}/data")
    assert code == 1 and "lmlab finetune" in told
