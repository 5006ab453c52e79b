"""lmlab evaluate formulation=in_context: from a pre-trained run to its curve over the number of shots."""

import json

import pytest
from test_finetune import TINY, lmlab, only, place  # noqa: F401


def test_a_pretrained_run_learns_in_context(place, lmlab):  # noqa: F811
    pytest.importorskip("matplotlib")
    corpus = ["corpus=text", f"corpus.path={place}/text.txt", "seq_len=64"]
    steps = ["trainer.max_steps=2", "trainer.batch_tokens=256", "trainer.eval_every=null"]
    code, _, told = lmlab("pretrain", "model=gpt", "objective=causal_lm", *corpus, *steps, *TINY)
    assert code == 0, told
    task = ["task=mw_arithmetic", "task.train_rows=20", "task.evaluation_rows=10", "formulation=in_context"]
    code, _, told = lmlab("evaluate", *task, "formulation.orders=2", "-m", "formulation.shots=0,3")
    assert code == 0, told
    summaries = sorted((place / "outputs/evaluate/sweeps").glob("*/*/*/summary.json"))
    without, with_shots = (json.loads(path.read_text())["metrics"] for path in summaries)
    assert {"accuracy", "perplexity", "loss"} <= without.keys() and "accuracy_mean" not in without
    assert {f"accuracy_{name}" for name in ("mean", "std", "min", "max")} <= with_shots.keys()
    code, _, told = lmlab("compare", "outputs/evaluate", "x=formulation.shots", "plot=curve.png")
    assert code == 0, told
    assert only("curve.png", place).stat().st_size > 1000
    code, _, told = lmlab("evaluate", *task, "formulation.shots=21")
    assert code == 1 and "formulation.shots=21: task 'mw_arithmetic' has 20 training rows" in told
    for other, kind, way in (
        ("mw_ner", "tagging", "; train a head with"),
        ("mw_similarity", "regression", "; ask it as it is with formulation=text_to_text, or train a head with"),
    ):
        code, _, told = lmlab("evaluate", f"task={other}", "formulation=in_context")
        assert code == 1 and f"formulation=in_context does not put a {kind} task to a pretrained model" in told
        assert f"{way}: lmlab finetune task=..." in told
    assert not list((place / "outputs/evaluate").glob("2*/*/summary.json"))  # nothing is half-written
