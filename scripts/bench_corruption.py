"""How fast corrupted batches are made, beside how fast a laptop-size model consumes them, in one run on one machine.

    python scripts/bench_corruption.py                                  every option of conf/corruption
    python scripts/bench_corruption.py --only infilling,spans,whole_word
    python scripts/bench_corruption.py --profile whole_word             where the time goes

One worker makes whole batches of 4,096 tokens as in training: unit of text, corruption, objective, layout for the model
(`PretrainBatches.step`). The model takes a whole training step on the same batches: forward, backward, clipping, AdamW.
Each corruption goes with the objective and the model that use it. A ratio of 5 means that five models could be fed.
The text is english_books where LMLAB_DATA has it, else the embedded pydocs.
"""

import argparse
import cProfile
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lmlab.config.assemble import PretrainData, build_corpus, build_learner, build_tokenizer
from lmlab.config.build import build
from lmlab.config.check import check
from lmlab.config.options import option_files, search_folders
from lmlab.config.schema import compose
from lmlab.engine.trainer import Settings, Trainer
from lmlab.errors import UserError
from lmlab.runs.record import RunFolder
from lmlab.text.batching import PretrainBatches

LENGTHS = (32, 128)
BATCH_TOKENS = 4096
GOAL = 5.0
# Which sentence asks about a corruption: its own, or the first of the others that takes it.
OWN = {
    "spans": "model=t5 objective=span_corruption",
    "drop": "model=t5 objective=drop_spans",
    "fragment": "model=t5 objective=mass",
}
OTHERS = ("model=bert objective=mlm", "model=t5 objective=denoising", "model=gpt objective=causal_lm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="corruptions, separated by commas")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--profile", metavar="CORRUPTION", help="profile the making of its batches instead")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(option_files("corruption", search_folders()))
    if options.profile:
        profile(options.profile)
        return
    print(f"{torch.get_num_threads()} threads for the model, 1 for the batches; {BATCH_TOKENS:,} tokens a batch")
    print(f"{'corruption':<22}{'sentence':<38}{'length':>6}{'batches/s':>11}{'tokens/s':>12}{'model':>12}{'ratio':>8}")
    ratios = [compare(name, length, options.seconds) for name in names for length in LENGTHS]
    known = [ratio for ratio in ratios if ratio is not None]
    print(f"least ratio {min(known):.1f}; {sum(ratio >= GOAL for ratio in known)} of {len(known)} reach {GOAL:g}")


def compare(corruption: str, seq_len: int, seconds: float) -> float | None:
    """Print one line; return how many times faster than consumed the batches are made, None if no sentence fits."""
    found = sentence_for(corruption, seq_len)
    if found is None:
        print(f"{corruption:<22}no sentence of this script takes it")
        return None
    sentence, config = found
    trainer, batches = prepare(config)
    made = rate(lambda step: batches.step(step), seconds)
    ready = [batches.step(step) for step in range(4)]
    learned = rate(lambda step: trainer._train_step(ready[step % 4]), seconds)
    tokens = statistics.fmean(sum(batch.num_tokens for batch in batch_list) for batch_list in ready)
    print(
        f"{corruption:<22}{sentence:<38}{seq_len:>6}{made:>11,.1f}{made * tokens:>12,.0f}{learned * tokens:>12,.0f}"
        f"{made / learned:>8.1f}"
    )
    return made / learned


def sentence_for(corruption: str, seq_len: int) -> tuple[str, Any] | None:
    """The sentence that asks about a corruption, with its config."""
    for sentence in (OWN[corruption],) if corruption in OWN else OTHERS:
        words = [*sentence.split(), f"corruption={corruption}", f"seq_len={seq_len}", f"corpus={corpus()}"]
        config = compose("pretrain", [*words, f"trainer.batch_tokens={BATCH_TOKENS}"])
        try:
            check(config)
        except UserError:
            continue
        return sentence, config
    return None


def corpus() -> str:
    data = os.environ.get("LMLAB_DATA")
    return "english_books" if data and Path(data, "english-books").is_dir() else "pydocs"


def prepare(config: Any) -> tuple[Trainer, PretrainBatches]:
    """A trainer at its first step, and the batches it would be given."""
    text = build_corpus(config)
    tokenizer = build_tokenizer(config, text)
    torch.manual_seed(0)
    learner = build_learner(config, tokenizer).train()
    data = PretrainData(config, text, tokenizer, learner.objective, learner.model)
    settings = Settings(max_steps=1000, device="cpu")
    optimizer, schedule = build(config.optimizer), build(config.schedule)
    trainer = Trainer(learner, None, optimizer, schedule, settings, RunFolder(tempfile.mkdtemp()), dict, seed=0)
    return trainer, data.train_batches()


def rate(work: Callable[[int], object], seconds: float) -> float:
    """How often a second `work` can be done: by the shortest of the times, which other programs disturb least."""
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        start = time.perf_counter()
        work(len(times))
        times.append(time.perf_counter() - start)
    return 1 / min(times)


def profile(corruption: str) -> None:
    for seq_len in LENGTHS:
        found = sentence_for(corruption, seq_len)
        if found is None:
            raise SystemExit(f"no sentence of this script takes corruption={corruption}")
        _, batches = prepare(found[1])
        batches.step(0)
        profiler = cProfile.Profile()
        profiler.runcall(lambda batches=batches: [batches.step(step) for step in range(1, 21)])
        print(f"\n{corruption}, length {seq_len}, 20 batches")
        pstats.Stats(profiler).sort_stats("tottime").print_stats(18)


if __name__ == "__main__":
    main()
