"""lmlab audit: measure what the model would see and be asked in a pre-training run, beside what is expected.

lmlab audit model=bert objective=mlm_nsp
lmlab audit model=t5 objective=span_corruption corruption.rate=0.3 examples=null format=json
"""

import json
import sys
import time

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lmlab.audit.collect import collect
from lmlab.audit.epoch import epoch_figures
from lmlab.audit.figures import figures_of, histogram_of
from lmlab.audit.show import Report, as_json, show
from lmlab.commands.source import with_published
from lmlab.config.assemble import PretrainData, build_corpus, build_objective, build_tokenizer, tokenizer_facts
from lmlab.config.build import build
from lmlab.config.check import check
from lmlab.errors import UserError
from lmlab.models.skeleton import without_weights

WORDS = ("model", "objective", "corruption", "corpus", "tokenizer")


def main(config: DictConfig) -> None:
    """Audit the pre-training run that `config` describes.

    Raises:
        UserError: a figure is impossible; the report is shown all the same.
    """
    config = with_published(config)
    check(config)
    report = audit(config)
    if config.format == "json":
        print(json.dumps(as_json(report), ensure_ascii=False))
    else:
        show(report)
    if report.problems:
        raise UserError("this cannot be trained on:\n  - " + "\n  - ".join(report.problems))


def audit(config: DictConfig) -> Report:
    """Follow the text of a config on its way to the model, and count."""
    corpus = build_corpus(config)
    tokenizer = build_tokenizer(config, corpus)
    facts = tokenizer_facts(tokenizer)
    with without_weights():
        model = build(config.model, **facts)
    objective = build_objective(config, tokenizer, model)
    data = PretrainData(config, corpus, tokenizer, objective, model, marks=True)
    batches = data.train_batches()
    num_sequences = min(config.examples or len(batches.units), len(batches.units))
    all_counts = collect(batches, objective, model.layout, facts, num_sequences, progress())
    expected_random = batches.units.expected_random(0) if objective.unit == "sentence_pair" else None
    passes = {" + ".join(counts.question.terms): counts for counts in all_counts}
    parts = {name: figures_of(counts, model.max_positions, expected_random) for name, counts in passes.items()}
    histograms = {name: histogram_of(counts) for name, counts in passes.items()}
    parts["text"] = epoch_figures(batches.units, data.store("train"))
    return Report(chosen(), num_sequences, parts, {name: each for name, each in histograms.items() if each})


def chosen() -> dict[str, str]:
    """Which option each word took."""
    choices = HydraConfig.get().runtime.choices
    return {group: str(choices[group]) for group in WORDS}


def progress():
    """Say on standard error how far the audit is, every few seconds."""
    told = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > 5:
            told = time.monotonic()
            print(f"{done:,} of {total:,} sequences", file=sys.stderr, flush=True)

    return report
