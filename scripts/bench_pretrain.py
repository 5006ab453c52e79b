"""How fast lmlab pre-trains BERT, beside Hugging Face transformers, in one run on one machine.

    python scripts/bench_pretrain.py                  both parts below
    python scripts/bench_pretrain.py --only step      one training step on random tokens
    python scripts/bench_pretrain.py --only command   the real command on real text against the Trainer

BERT of 4 layers x 256, sequences of 128, 32 of them a step, dropout 0.1, AdamW, bf16 on both sides. The two sides take
turns, because machines are noisy: only the ratio within one run means anything. The text is english_books where
LMLAB_DATA has it, else the embedded pydocs. Needs the dev extra.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

LAYERS, HIDDEN, HEADS, INTERMEDIATE = 4, 256, 4, 1024
LENGTH, BATCH = 128, 32
STEP_VOCABULARY, COMMAND_VOCABULARY = 30_522, 8_192
TOKENS = LENGTH * BATCH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("step", "command"), help="one part alone")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each side takes")
    parser.add_argument(
        "--steps", type=int, default=200, help="steps of a turn of the command; transformers does a fifth"
    )
    options = parser.parse_args()
    ceiling = matrix_product_ceiling()
    if options.only != "command":
        compare_steps(options.rounds, ceiling)
    if options.only != "step":
        compare_commands(options.rounds, options.steps, ceiling)


# ---- what the machine can do


def matrix_product_ceiling() -> float:
    """Print the rate of one large matrix product in fp32 and bf16; return the better one, in FLOP/s."""
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(TOKENS, INTERMEDIATE).to(dtype), torch.randn(INTERMEDIATE, INTERMEDIATE).to(dtype)
        seconds = min(timed(lambda a=a, b=b: a @ b) for _ in range(20))
        rates[dtype] = 2 * TOKENS * INTERMEDIATE**2 / seconds
    print(
        f"{torch.get_num_threads()} threads; matrix products: {rates[torch.float32] / 1e9:.0f} GFLOP/s in fp32, "
        f"{rates[torch.bfloat16] / 1e9:.0f} in bf16"
    )
    return max(rates.values())


def model_flops(vocabulary: int, predicted: int) -> float:
    """FLOPs of one plain step of BERT: 6 per weight and token that it meets, and the products of attention.

    The head counts at predicted positions only. What else a side leaves out counts as done (lmlab: what the last layer
    would do after its attention at positions that are not predicted).
    """
    per_layer = 4 * HIDDEN**2 + 2 * HIDDEN * INTERMEDIATE
    attention = 12 * LAYERS * HIDDEN * LENGTH * TOKENS
    head = 6 * (HIDDEN**2 + HIDDEN * vocabulary) * predicted
    return 6 * LAYERS * per_layer * TOKENS + attention + head


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


# ---- one step on random tokens


def compare_steps(rounds: int, ceiling: float) -> None:
    print(f"\nOne training step: vocabulary {STEP_VOCABULARY:,}, {BATCH} x {LENGTH} random tokens, 15 % predicted")
    ours, theirs = lmlab_step(), transformers_step()
    seconds: dict[str, list[float]] = {"lmlab": [], "transformers": []}
    for _ in range(rounds):
        seconds["lmlab"] += [timed(ours) for _ in range(8)]
        seconds["transformers"] += [timed(theirs) for _ in range(3)]
    report(seconds, TOKENS, model_flops(STEP_VOCABULARY, BATCH * 19), ceiling)


def random_tokens() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, T), and 19 positions of each row that are predicted, as BERT's 15 % of 128 are."""
    ids = torch.randint(5, STEP_VOCABULARY, (BATCH, LENGTH))
    positions = torch.stack([torch.randperm(LENGTH)[:19].sort().values for _ in range(BATCH)])
    return ids, positions


def lmlab_step() -> Callable[[], object]:
    """The loop's own step, on a batch that is already there, as for the other side."""
    from lmlab.batch import Batch
    from lmlab.corruptions.token_mask import TokenMask
    from lmlab.engine.optimizers import AdamW
    from lmlab.engine.schedules import Constant
    from lmlab.engine.trainer import Settings, Trainer
    from lmlab.models.bert import Bert
    from lmlab.objectives.base import Learner
    from lmlab.objectives.mlm import Mlm
    from lmlab.runs.record import RunFolder

    torch.manual_seed(0)
    model = Bert(STEP_VOCABULARY, HIDDEN, LAYERS, HEADS, INTERMEDIATE)
    learner = Learner(model, Mlm(TokenMask(4, STEP_VOCABULARY), cls_id=2, sep_id=3, mask_id=4))
    ids, positions = random_tokens()
    flat = (positions + torch.arange(BATCH)[:, None] * LENGTH).view(-1)
    batch = Batch({"input_ids": ids, "positions": flat}, {"labels": ids.view(-1)[flat]}, {"mlm": len(flat)}, TOKENS)
    settings = Settings(max_steps=1000, precision="bf16", device="cpu")
    folder = RunFolder(tempfile.mkdtemp())
    trainer = Trainer(learner, None, AdamW(lr=1e-4), Constant(0), settings, folder, dict, seed=0)
    learner.train()
    step = lambda: trainer._train_step([batch])  # noqa: E731
    for _ in range(3):
        step()
    return step


def transformers_step() -> Callable[[], object]:
    torch.manual_seed(0)
    model = transformers_bert(STEP_VOCABULARY).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids, positions = random_tokens()
    labels = torch.full_like(ids, -100).scatter(1, positions, ids.gather(1, positions))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(2):
        step()
    return step


def transformers_bert(vocabulary: int) -> torch.nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=INTERMEDIATE,
            attn_implementation="sdpa",
        )
    )


# ---- the real command on real text


def compare_commands(rounds: int, steps: int, ceiling: float) -> None:
    corpus = "english_books" if has_english_books() else "pydocs"
    print(f"\nThe whole training loop: lmlab pretrain on {corpus}, {COMMAND_VOCABULARY:,} word pieces; the Trainer")
    seconds: dict[str, list[float]] = {"lmlab": [], "transformers": []}
    with tempfile.TemporaryDirectory() as folder:
        run_lmlab(corpus, 2, folder)  # trains the tokenizer and fills the cache: not what is compared
        for _ in range(rounds):
            seconds["lmlab"].append(run_lmlab(corpus, steps, folder))
            seconds["transformers"].append(in_own_process(corpus, max(2, steps // 5)))
    report(seconds, TOKENS, model_flops(COMMAND_VOCABULARY, BATCH * 19), ceiling)


def has_english_books() -> bool:
    data = os.environ.get("LMLAB_DATA")
    return bool(data) and Path(data, "english-books").is_dir()


def run_lmlab(corpus: str, steps: int, folder: str) -> float:
    """Seconds of a training step of the command."""
    run = tempfile.mkdtemp(dir=folder)
    words = [
        "pretrain", "model=bert", "model.dropout=0.1", "model.attention_dropout=0.1", "objective=mlm",
        f"corpus={corpus}", f"tokenizer.vocab_size={COMMAND_VOCABULARY}",
        f"seq_len={LENGTH}", f"trainer.batch_size={BATCH}", "trainer.batch_tokens=null", f"trainer.max_steps={steps}",
        "trainer.precision=bf16", "trainer.eval_every=null", "trainer.eval_tokens=4096", "trainer.save_every=null",
        f"hydra.run.dir={run}",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    if data := os.environ.get("LMLAB_DATA"):
        environment["LMLAB_DATA"] = str(Path(data).absolute())
    done = subprocess.run([sys.executable, "-m", "lmlab", *words], cwd=folder, env=environment, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return json.loads(Path(run, "summary.json").read_text())["train_seconds"] / steps


def in_own_process(corpus: str, steps: int) -> float:
    """Seconds of a step of the Trainer, in a process of its own as the command is."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import bench_pretrain as b; "
    code += f"print(b.run_transformers({corpus!r}, {steps}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout.splitlines()[-1])


def run_transformers(corpus: str, steps: int) -> float:
    """Train on the same token ids with the Trainer; its data are packed beforehand, as ours are in the cache."""
    import numpy as np
    from datasets import Dataset
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast, Trainer, TrainingArguments

    from lmlab.config.assemble import build_corpus, build_tokenizer
    from lmlab.config.schema import compose
    from lmlab.text.store import TokenStore

    config = compose("pretrain", [f"corpus={corpus}", f"tokenizer.vocab_size={COMMAND_VOCABULARY}"])
    text = build_corpus(config)
    tokenizer = build_tokenizer(config, text)
    ids = TokenStore.build(text, tokenizer, "train").ids[: (steps + 5) * TOKENS].astype(np.int64)
    blocks = ids[: len(ids) // (LENGTH - 2) * (LENGTH - 2)].reshape(-1, LENGTH - 2)
    rows = np.pad(blocks, ((0, 0), (1, 1)), constant_values=((0, 0), (tokenizer.cls_id, tokenizer.sep_id)))
    data = Dataset.from_dict({"input_ids": rows.tolist()})
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip
    arguments = TrainingArguments(
        tempfile.mkdtemp(), max_steps=steps, per_device_train_batch_size=BATCH, learning_rate=1e-3, bf16=True,
        use_cpu=True, report_to=[], save_strategy="no", logging_steps=10, disable_tqdm=True, warmup_steps=10,
    )  # fmt: skip
    trainer = Trainer(
        transformers_bert(tokenizer.vocab_size), arguments, train_dataset=data,
        data_collator=DataCollatorForLanguageModeling(theirs),
    )  # fmt: skip
    return trainer.train().metrics["train_runtime"] / steps


def report(seconds: dict[str, list[float]], tokens: int, flops: float, ceiling: float) -> None:
    for side, times in seconds.items():
        middle = statistics.median(times)
        print(
            f"  {side:<13} {tokens / middle:8,.0f} tokens/s  (best {tokens / min(times):,.0f}, worst "
            f"{tokens / max(times):,.0f})  {flops / middle / ceiling:.0%} of the ceiling"
        )
    ratio = statistics.median(seconds["transformers"]) / statistics.median(seconds["lmlab"])
    print(f"  lmlab is {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
