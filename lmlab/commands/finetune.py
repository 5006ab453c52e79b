"""lmlab finetune: put a task to a model, let it learn, score it.

lmlab finetune task=pydocs_topic
LMLAB_DATA=data lmlab finetune task=sst2 init=outputs/pretrain/2026-01-31/12-00-00-bert-mlm seeds=3
"""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import nn

from lmlab import huggingface
from lmlab.commands.session import Session, relative, say
from lmlab.commands.source import refuse_words
from lmlab.config.assemble import build_corpus, build_tokenizer, tokenizer_facts
from lmlab.config.build import build, to_plain
from lmlab.config.check import check, check_formulation, trait
from lmlab.config.schema import Pretrain
from lmlab.engine.progress import final_panel
from lmlab.engine.trainer import Settings, Trainer
from lmlab.errors import UserError, nearest
from lmlab.files import atomic_write
from lmlab.formulations.base import Formulation
from lmlab.formulations.scoring import evaluation_rows, score
from lmlab.loading import is_pretrained, load, read_weights
from lmlab.runs import find
from lmlab.runs.record import RunFolder, config_hash
from lmlab.tasks.base import Task, content_hash
from lmlab.text.tokenizer import Tokenizer

USUAL_LENGTH = 128  # tokens of an example for a published model, which may have far more positions than a task needs
BRINGS_ITS_OWN = ("model", "tokenizer", "corpus")  # a pre-trained model does; these groups go with init=random


def main(config: DictConfig) -> float:
    """Fine-tune with one seed or several. Returns the task's main metric (its mean over seeds)."""
    check(config)
    config = with_source(config)
    if config.seeds > 1:
        return finetune_seeds(config)
    return main_metric(finetune(config))


def finetune(config: DictConfig, folder: Path | None = None) -> RunFolder:
    """One run: source -> learner -> training -> scores of the best checkpoint."""
    session = Session(config, folder)
    config, run = session.config, session.run
    task = build(config.task, data_dir=config.data_dir, cache_dir=config.cache_dir)
    formulation = build(config.formulation)

    torch.manual_seed(config.seed)  # of the head's weights; with init=random also of the model's
    start = again(session) if session.resumed else starting_point(config)
    check_formulation(task, formulation, start.model.layout)
    learner = formulation.learner(start.model, task, start.tokenizer, start.heads)
    build(config.tuning).prepare(learner)
    rows, limit = task.rows(task.train_split), config.trainer.micro_batch_tokens
    step = {"batch_size": config.trainer.batch_size, "batch_tokens": config.trainer.batch_tokens}
    scores = Scores(formulation, learner, task, limit)

    trainer = Trainer(
        learner,
        formulation.batches(learner, rows, limit, config.seed, **step),
        optimizer=build(config.optimizer),
        schedule=build(config.schedule),
        settings=trainer_settings(session, task),
        record=run,
        evaluate=scores.measure,
        seed=config.seed,
    )
    run.save_tokenizer(start.tokenizer)
    hashes = {"data_hash": f"{content_hash(*rows):016x}", "tokenizer_hash": start.tokenizer.hash}
    session.refuse_other_data(hashes["data_hash"])
    warn_of_length(config, start)
    session.train(trainer, **start.names, **hashes)
    if trainer.state.best_step != trainer.state.step or not scores.records:
        trainer.weights.load_state_dict(read_weights(run))
        scores.measure()
    write_predictions(run, scores.records)
    session.finish(trainer, scores.metrics)
    report(f"{task.name}: finished", run.path, scores.metrics, run.write_log)
    return run


def main_metric(run: RunFolder) -> float:
    """The task's number: the first of the metrics."""
    return next(iter(run.read_summary()["metrics"].values()))


def finetune_seeds(config: DictConfig) -> float:
    """Several seeds, each in a sub-folder; mean and standard deviation in the folder above.

    With `resume=auto` seeds that are done are taken as they are, and one that was interrupted goes on in its folder.
    """
    if config.resume not in (None, "auto"):
        raise UserError(
            f"resume={config.resume} is one run, seeds={config.seeds} are several: say resume=auto or seeds=1"
        )
    folder = Path(HydraConfig.get().runtime.output_dir)
    finished = []
    for seed in range(config.seed, config.seed + config.seeds):
        single = config.copy()
        single.seed, single.seeds = seed, 1
        done = finished_run(single) if config.resume == "auto" else None
        finished.append(done or finetune(single, folder / f"seed-{seed}"))
    values, runs = [main_metric(run) for run in finished], [run.read_summary() for run in finished]
    metrics = mean_and_deviation([run["metrics"] for run in runs])
    shared = {key: value for key, value in runs[0].items() if all(run[key] == value for run in runs)}
    RunFolder(folder).summary(shared | {"command": "finetune", "status": "finished", "metrics": metrics})
    report(f"{len(runs)} seeds: mean and standard deviation", folder, metrics)
    return statistics.fmean(values)


def finished_run(config: DictConfig) -> RunFolder | None:
    """The newest finished run of this experiment."""
    wanted = config_hash(to_plain(config))
    return find.latest(lambda run: run.read_summary()["config_hash"] == wanted and run.status() == "finished")


def warn_of_length(config: DictConfig, start: "Start") -> None:
    """Tell when examples are longer than the sequences that gave the model its positions."""
    if start.model.max_positions is not None and start.seq_len is not None and config.seq_len > start.seq_len:
        say(f"seq_len={config.seq_len}: beyond {start.seq_len}, as in pre-training, positions start untrained")


def mean_and_deviation(runs: list[dict[str, float]]) -> dict[str, float]:
    """Mean of every metric, and its standard deviation over the runs (n - 1) as `<name>_std`."""
    names = dict.fromkeys(name for metrics in runs for name in metrics)
    columns = {name: [metrics.get(name, 0.0) for metrics in runs] for name in names}  # only flags may be missing
    means = {name: statistics.fmean(values) for name, values in columns.items()}
    return means | {f"{name}_std": statistics.stdev(values) for name, values in columns.items()}


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
        config.formulation.sees_text_whole = any(trait(source.config()["objective"], "sees_inputs_whole"))
    return config


def find_source(config: DictConfig) -> RunFolder:
    """The pretraining run that `init` names; "latest" is the newest finished one that serves the task."""
    if config.init != "latest":
        return find.resolve(config.init, is_pretrained, "a pretraining run")
    kind, formulation = build(config.task).kind, build(config.formulation)

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


# ---- small parts


class Scores:
    """The task's scores of a learner, and the predictions behind the last ones."""

    def __init__(self, formulation: Formulation, learner: nn.Module, task: Task, micro_batch_tokens: int) -> None:
        self.asked = (formulation, learner, task, evaluation_rows(task), micro_batch_tokens)
        self.metrics: dict[str, float] = {}
        self.records: list[dict] = []

    def measure(self) -> dict[str, float]:
        """Score the learner as it is now."""
        self.metrics, self.records = score(*self.asked)
        return self.metrics


def trainer_settings(session: Session, task: Task) -> Settings:
    """The trainer's settings; `best_metric: task` is the task's first metric."""
    settings = session.settings(to_plain(session.config.trainer))
    if settings.best_metric == "task":
        settings.best_metric = task.main_metric
    known = [task.metric_key(name, split) for split in task.evaluation_splits for name in (*task.metrics, "loss")]
    if settings.best_metric not in known:
        hint = nearest(settings.best_metric, known)
        raise UserError(
            f"trainer.best_metric={settings.best_metric} is not measured{hint}; there is {', '.join(known)}"
        )
    return settings


def write_predictions(run: RunFolder, records: list[dict]) -> None:
    """predictions.jsonl: one line `id, inputs, prediction, references` for each scored row."""
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    atomic_write(run.path / "predictions.jsonl", "".join(lines))


def report(title: str, folder: Path, metrics: dict[str, float], write_log: Any = None) -> None:
    """The short panel at the end: final figures, where the run lies, what to try next."""
    place = relative(folder)
    final_panel(title, {**metrics, "run": place}, f"lmlab compare {place.parent}", write_log)
