"""One fine-tuning run: from a pre-trained model to the scores of its best checkpoint."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import nn

from lmlab import huggingface
from lmlab.commands.scores import report
from lmlab.commands.session import Session, relative, say
from lmlab.commands.source import refuse_words
from lmlab.config.assemble import as_trained, build_corpus, build_formulation, build_tokenizer, tokenizer_facts
from lmlab.config.build import build, target_of, to_plain
from lmlab.config.check import check_formulation
from lmlab.config.nodes import trait, value_of
from lmlab.config.options import folders_of_job, option_files, read_option
from lmlab.config.schema import Pretrain
from lmlab.engine.precision import choose_device, choose_dtype
from lmlab.engine.trainer import Settings, Trainer
from lmlab.errors import UserError, nearest
from lmlab.files import atomic_write
from lmlab.formulations.base import Formulation
from lmlab.formulations.learner import Learner
from lmlab.formulations.scoring import evaluation_rows, same_kind, score
from lmlab.loading import is_pretrained, load, load_finetuned, read_weights
from lmlab.runs import find
from lmlab.runs.record import RunFolder
from lmlab.tasks.base import Task, content_hash
from lmlab.text.tokenizer import Tokenizer

USUAL_LENGTH = 128  # tokens of an example for a published model, which may have far more positions than a task needs
BRINGS_ITS_OWN = ("model", "tokenizer", "corpus")  # a pre-trained model does; these groups go with init=random


class Data(NamedTuple):
    """A task, its parsed training rows, and those that are scored, by split.

    Attributes:
        labelled_by_models: rows that are learnt in place of the training rows; None: there are none.
    """

    task: Task
    rows: list[dict]
    evaluation: dict[str, list[dict]]
    labelled_by_models: list[dict] | None = None

    @property
    def learnt(self) -> list[dict]:
        """The rows to learn from."""
        return self.rows if self.labelled_by_models is None else self.labelled_by_models

    @property
    def hash(self) -> str:
        """Of the training rows."""
        return f"{content_hash(*self.rows):016x}"


def read_data(config: DictConfig) -> Data:
    """The rows that the task of a config learns from, and those on which it is scored."""
    task = build_task(config, config.task)
    return Data(task, task.rows(task.train_split), evaluation_rows(task))


def finetune(
    config: DictConfig, folder: Path | None = None, read: Callable[[DictConfig], Data] = read_data
) -> RunFolder:
    """One run: source -> learner -> training -> scores of the best checkpoint.

    Args:
        folder: where the run goes; that of the job when not given.
        read: gives the data.
    """
    session = Session(config, folder)
    config, run = as_trained(session.config), session.run
    data, formulation = read(config), build_formulation(config.formulation, config.get("template"))
    task, elsewhere = data.task, other_tasks(config, data.task)

    torch.manual_seed(config.seed)  # of the head's weights; with init=random also of the model's
    start = again(session) if session.resumed else starting_point(config)
    check_formulation(task, formulation, start.model.layout)
    learner = formulation.learner(start.model, task, start.tokenizer, start.heads)
    build(config.tuning).prepare(learner)
    limit = config.trainer.micro_batch_tokens
    step = {"batch_size": config.trainer.batch_size, "batch_tokens": config.trainer.batch_tokens}
    scores = Scores(formulation, learner, data, limit)

    trainer = Trainer(
        learner,
        formulation.batches(learner, data.learnt, limit, config.seed, **step),
        optimizer=build(config.optimizer),
        schedule=build(config.schedule),
        settings=trainer_settings(session, config, task),
        record=run,
        evaluate=scores.measure,
        seed=config.seed,
    )
    run.save_tokenizer(start.tokenizer)
    hashes = {"data_hash": data.hash, "tokenizer_hash": start.tokenizer.hash}
    session.refuse_other_data(data.hash)
    warn_of_length(config, start, learner, data)
    session.train(trainer, **start.names, **hashes, baseline=baseline(data))
    if trainer.state.best_step != trainer.state.step or not scores.records:
        trainer.weights.load_state_dict(read_weights(run))
        scores.measure()
    write_predictions(run, scores.records)
    session.finish(trainer, scores.metrics | score_elsewhere(run, config, elsewhere))
    report(f"{task.name}: finished", run.path, run.read_summary()["metrics"], run.write_log)
    return run


def finetune_once(config: DictConfig, run: RunFolder, read: Callable[[DictConfig], Data] = read_data) -> RunFolder:
    """The run of a folder: as it is if it is finished, else trained, or trained on. Hidden folders in it stay."""
    if is_finished(run):
        return run
    config.resume = str(run.path) if run.has_checkpoint(resumable=True) else None
    if config.resume is None:  # it stopped before its first checkpoint, or never began
        for path in (path for path in run.path.glob("*") if not path.name.startswith(".")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return finetune(config, run.path, read)


def is_finished(run: RunFolder) -> bool:
    """Whether the folder holds a run that reached its end."""
    return (run.path / "summary.json").exists() and run.status() == "finished"


def build_task(config: DictConfig, node: Any) -> Task:
    """A task of the config, with the folders of data and cache that are named there."""
    return build(node, data_dir=config.data_dir, cache_dir=config.cache_dir)


def main_metric(run: RunFolder) -> float:
    """The task's number: the first of the metrics."""
    return next(iter(run.read_summary()["metrics"].values()))


def warn_of_length(config: DictConfig, start: "Start", learner: Learner, data: Data) -> None:
    """Tell when examples are longer than the sequences that gave the model its positions."""
    if start.model.max_positions is None or start.seq_len is None:
        return
    longest, what = learner.longest_sequence(data.learnt), "the longest example has"
    if config.seq_len > start.seq_len:
        longest, what = config.seq_len, "examples may have"
    if longest > start.seq_len:
        say(f"{what} {longest} tokens: beyond {start.seq_len}, as in pre-training, positions start untrained")


# ---- where the weights come from


@dataclass
class Start:
    """What training starts from.

    Attributes:
        heads: what the source was trained with besides the model, by name.
        names: of its model, objective, corruption and corpus, for the summary.
        seq_len: of its pre-training; None for fresh weights.
    """

    model: nn.Module
    tokenizer: Tokenizer
    heads: nn.ModuleDict | None = None
    names: dict[str, Any] = field(default_factory=dict)
    seq_len: int | None = None


def with_source(config: DictConfig) -> DictConfig:
    """The config with model, length and direction of what `init` names, a run by its folder: it says all by itself."""
    if config.resume not in (None, "auto"):
        return config
    config = config.copy()
    if config.init == "random":
        config.seq_len = config.seq_len or Pretrain.seq_len
        return config
    if huggingface.is_named(config.init):
        published = huggingface.find(config.init)
        refuse_words(config.init, BRINGS_ITS_OWN, "init=random")
        config.model = published.node
        config.seq_len = config.seq_len or min(published.seq_len, USUAL_LENGTH)
        return config
    source = find_source(config)
    refuse_words(config.init, BRINGS_ITS_OWN, "init=random")
    config.init, config.model = str(relative(source.path)), source.config()["model"]
    config.seq_len = config.seq_len or source.config()["seq_len"]
    if "sees_text_whole" in config.formulation and config.formulation.sees_text_whole is None:
        whole = any(trait(source.config()["objective"], "sees_inputs_whole"))
        can = value_of(source.config()["model"], "bidirectional_prefix") is not False
        config.formulation.sees_text_whole = whole and can
    return config


def find_source(config: DictConfig) -> RunFolder:
    """The pretraining run that `init` names; "latest" is the newest finished one that serves the task."""
    if config.init != "latest":
        return find.resolve(config.init, is_pretrained, "a pretraining run")
    kind, formulation = build(config.task).kind, target_of(config.formulation["_target_"])

    def fits(run: RunFolder) -> bool:
        if not is_pretrained(run) or run.status() != "finished":
            return False
        return formulation.serves(kind, trait(run.config()["model"], "layout")[0])

    try:
        return find.resolve("latest", fits, "a finished pretraining run that serves the task")
    except UserError as error:
        raise UserError(f"init=latest: {error} Or train new weights with init=random.") from error


def starting_point(config: DictConfig) -> Start:
    """A pretrained model; with `init=random` new weights and the tokenizer that `corpus` gives."""
    if config.init == "random":
        tokenizer = build_tokenizer(config, build_corpus(config))
        return Start(build(config.model, **tokenizer_facts(tokenizer)), tokenizer)
    source = load(config.init)
    if source.run is None:
        names = {"model": source.name, "objective": None, "corruption": None, "corpus": None}
        return Start(source.model, source.tokenizer, source.heads, names, source.config.seq_len)
    summary = source.run.read_summary()
    names = {key: summary[key] for key in ("model", "objective", "corruption", "corpus")}
    return Start(source.model, source.tokenizer, source.heads, names, source.config.seq_len)


def again(session: Session) -> Start:
    """Model and tokenizer of a run that is resumed; its weights come from the checkpoint."""
    tokenizer = Tokenizer.load(session.run.path / "tokenizer.json")
    return Start(build(session.config.model, **tokenizer_facts(tokenizer)), tokenizer)


# ---- what else is scored


def baseline(data: Data) -> dict[str, float]:
    """The scores of the best answer that is always the same, learnt from the training rows."""
    return {
        data.task.metric_key(name, split): value
        for split, asked in data.evaluation.items()
        for name, value in data.task.baseline(data.rows, asked).items()
    }


class Elsewhere(NamedTuple):
    """A task that a model is scored on without having been trained for it, and its rows by split."""

    task: Task
    rows: dict[str, list[dict]]


def other_tasks(config: DictConfig, trained: Task) -> dict[str, Elsewhere]:
    """The tasks of `evaluate_on` by name, read before anything is trained.

    Raises:
        UserError: there is no such task, it asks for other answers than the one that is trained, or has no data.
    """
    folders, found = folders_of_job(), {}
    known = option_files("task", folders)
    for name in config.evaluate_on:
        if name not in known:
            raise UserError(f"evaluate_on: there is no task {name!r}{nearest(name, known)}")
        node = read_option("task", name, folders) | {"max_evaluation_rows": config.task.get("max_evaluation_rows")}
        task = same_kind(trained, build_task(config, node))
        found[name] = Elsewhere(task, evaluation_rows(task))
    return found


def score_elsewhere(run: RunFolder, config: DictConfig, others: Mapping[str, Elsewhere]) -> dict[str, float]:
    """The best checkpoint on other tasks: `<task>.<metric>`; the predictions are written to files of their own."""
    metrics = {}
    for name, (task, rows) in others.items():
        learner, formulation = load_again(run, config, task)
        scores, records = score(formulation, learner, task, rows, config.trainer.micro_batch_tokens)
        write_predictions(run, records, f"predictions-{name}.jsonl")
        metrics |= {f"{name}.{metric}": value for metric, value in scores.items()}
    return metrics


def load_again(run: RunFolder, config: DictConfig, task: Task) -> tuple[nn.Module, Formulation]:
    """The best checkpoint of a run that has just been trained, on its device, and how it answers."""
    learner, formulation, _ = load_finetuned(run, config, task)
    device = choose_device(config.trainer.device)
    return learner.to(device=device, dtype=choose_dtype(run.environment()["precision"], device)), formulation


# ---- small parts


class Scores:
    """The task's scores of a learner, and the predictions behind the last ones."""

    def __init__(self, formulation: Formulation, learner: nn.Module, data: Data, micro_batch_tokens: int) -> None:
        self.asked = (formulation, learner, data.task, data.evaluation, micro_batch_tokens)
        self.metrics: dict[str, float] = {}
        self.records: list[dict] = []

    def measure(self) -> dict[str, float]:
        """Score the learner as it is now."""
        self.metrics, self.records = score(*self.asked)
        return self.metrics


def trainer_settings(session: Session, config: DictConfig, task: Task) -> Settings:
    """The trainer's settings; `best_metric: task` is the task's first metric."""
    settings = session.settings(to_plain(config.trainer))
    if settings.best_metric == "task":
        settings.best_metric = task.main_metric
    known = [task.metric_key(name, split) for split in task.evaluation_splits for name in (*task.metrics, "loss")]
    if settings.best_metric not in known:
        hint = nearest(settings.best_metric, known)
        raise UserError(
            f"trainer.best_metric={settings.best_metric} is not measured{hint}; there is {', '.join(known)}"
        )
    return settings


def write_predictions(run: RunFolder, records: list[dict], name: str = "predictions.jsonl") -> None:
    """A file with one line `id, inputs, prediction, references` for each scored row."""
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    atomic_write(run.path / name, "".join(lines))
