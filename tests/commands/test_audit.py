"""lmlab audit, end to end, and the short audit at the start of pre-training."""

import json
import os

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from lmlab.audit.judge import IMPOSSIBLE, OFF, judge
from lmlab.commands.audit import audit
from lmlab.config.check import check
from lmlab.config.schema import compose

SMALL = ("corpus.max_documents=60", "tokenizer.vocab_size=1000", "seq_len=64")
TINY = (
    *SMALL, "model.hidden_size=32", "model.num_layers=1", "model.num_heads=2", "model.intermediate_size=32",
    "trainer.batch_tokens=256", "trainer.max_steps=2", "trainer.eval_tokens=256", "trainer.device=cpu",
)  # fmt: skip
FAULTY = """
import numpy as np
from lmlab.corruptions.base import Corrupted
from lmlab.corruptions.token_mask import TokenMask

class MasksNothing(TokenMask):
    def __call__(self, text, generator):
        return Corrupted(text.tokens, np.zeros(len(text), dtype=bool))
"""
RECIPES = {
    "bert": ("model=bert", "objective=mlm_nsp"),
    "roberta": ("model=bert", "objective=mlm", "tokenizer=bpe"),
    "albert": ("model=bert", "objective=mlm_sop", "corruption=ngram", "tokenizer=unigram"),
    "chinese bert": ("model=bert", "objective=mlm_nsp", "corruption=whole_word"),
    "t5": ("model=t5", "objective=span_corruption", "tokenizer=unigram"),
    "bart": ("model=t5", "objective=denoising", "tokenizer=bpe"),
    "electra": ("model=bert", "objective=rtd"),
    "gpt": ("model=gpt", "objective=causal_lm", "tokenizer=bpe"),
}


def audited(*words: str):
    """The report of a command line."""
    config = compose("audit", list(words))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HydraConfig.instance(), "cfg", None)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        check(config)
        return audit(config)


def wrong(report) -> list[str]:
    verdicts = judge(report.figures)
    return [
        f"{figure.group}: {figure.name} {figure.estimate}"
        for figure, verdict in zip(report.figures, verdicts, strict=True)
        if verdict in (OFF, IMPOSSIBLE)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_published_recipes_pass(recipe):
    report = audited(*RECIPES[recipe], *SMALL, "examples=300")
    assert not wrong(report) and not report.problems
    assert {"model", "objective", "corruption", "corpus", "tokenizer"} == set(report.words)
    named = {f"{figure.group}: {figure.name}": figure.estimate for figure in report.figures}
    assert named["text of an epoch: never read"].value < 0.3  # cut off where a pair is too long
    assert named["text of an epoch: unknown tokens"].value < 0.01


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("corpus", ["english", "chinese"])
def test_published_recipes_pass_on_books(recipe, corpus, data_dir):
    corpora = {
        "english": ("corpus=english_books", "corpus.max_documents=300"),
        "chinese": ("corpus=local", f"corpus.path={data_dir / 'chinese-histories'}", "corpus.max_documents=200"),
    }
    report = audited(*RECIPES[recipe], *corpora[corpus], f"data_dir={data_dir}", "seq_len=128")
    assert not wrong(report)


@pytest.mark.slow
def test_json_is_one_object_on_standard_output(run_lmlab):
    done = run_lmlab("audit", "objective=mlm_nsp", *SMALL, "examples=100", "format=json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["objective"], report["sequences"], report["impossible"]) == ("mlm_nsp", 100, [])
    assert [part["name"] for part in report["parts"]] == ["nsp + mlm", "text"]
    asked = report["parts"][0]["figures"][0]
    assert asked["low"] <= asked["value"] <= asked["high"] and asked["expected"] == pytest.approx(asked["value"])
    assert sum(report["parts"][0]["spans"]["found"]) > 100


@pytest.mark.slow
def test_a_table_fits_80_columns_and_the_whole_epoch_is_counted(run_lmlab, tmp_path):
    done = run_lmlab("audit", *SMALL, "corpus.max_documents=10", "examples=null", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert "asked for" in lines[2] and lines[-1].endswith("all are ok.")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_an_impossible_corruption_is_reported_and_stops_pretraining_before_it_begins(run_lmlab, tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    path = os.pathsep.join([os.getcwd(), str(tmp_path)])
    faulty = ("corruption=token_mask", "corruption._target_=faulty.MasksNothing")
    done = run_lmlab("audit", *SMALL, "examples=100", *faulty, PYTHONPATH=path)
    assert done.returncode == 1 and "impossible" in done.stdout
    assert "nothing is asked of most sequences" in done.stderr and "Traceback" not in done.stderr
    done = run_lmlab("pretrain", *TINY, *faulty, PYTHONPATH=path)
    assert done.returncode == 1 and "the first 128 sequences cannot be trained on" in done.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_run_notes_what_it_was_shown(run_lmlab, tmp_path):
    done = run_lmlab("pretrain", *TINY)
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob("outputs/pretrain/*/*/log.txt")
    (line,) = (line for line in log.read_text().splitlines() if "Audit of" in line)
    assert "Audit of 128 sequences: 15.6 % of tokens asked (mask " in line and line.endswith("no padding")
