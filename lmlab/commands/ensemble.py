"""PET and iPET: a model for each pattern, what they say together of unlabelled text, a classifier that learns it.

LMLAB_DATA=data lmlab finetune task=fewglue_wic formulation=cloze ensemble=pet seeds=3
lmlab finetune task=mw_nli task.max_train_rows=32 formulation=cloze ensemble=ipet
"""

import io
import shutil
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from lmlab.commands.scores import report
from lmlab.commands.session import relative, say
from lmlab.commands.transfer import (
    Data,
    finetune_once,
    is_finished,
    load_again,
    read_data,
    starting_point,
    write_predictions,
)
from lmlab.config.assemble import build_formulation
from lmlab.config.build import build, to_plain
from lmlab.engine.precision import choose_device
from lmlab.errors import UserError
from lmlab.files import atomic_write
from lmlab.formulations.base import Formulation
from lmlab.formulations.blanks import chosen_pattern
from lmlab.formulations.ensemble import Ensemble, accuracy, answers, even, shares
from lmlab.formulations.scoring import scored, tokens_of_a_pass
from lmlab.runs.record import RunFolder
from lmlab.tasks.base import Task, content_hash, sample

MODELS = ".models"  # folder of the models of an ensemble; no runs to compare with others
SCORES = "scores.npz"  # what a model says of the rows that all are asked
UNLABELLED = "unlabelled"  # how these are called beside the splits that are scored
TOGETHER = "ensemble_"  # what begins the names of the metrics of all models together
SHARED = (
    "model", "objective", "corruption", "corpus", "task", "formulation", "ensemble", "tuning", "init", "parameters",
    "baseline", "data_hash", "tokenizer_hash",
)  # fmt: skip
SUMMED = ("steps", "tokens", "predicted_tokens", "wall_seconds", "train_seconds")


class Parts(NamedTuple):
    """What an ensemble is made of.

    Attributes:
        unlabelled: rows without labels that the models label; none where nobody learns from them.
        members: the config of each model.
        weights: what each model counts.
    """

    ensemble: Ensemble
    data: Data
    unlabelled: list[dict]
    members: list[DictConfig]
    weights: list[float]

    @property
    def asked(self) -> dict[str, list[dict]]:
        """The rows that every model is asked."""
        return self.data.evaluation | ({UNLABELLED: self.unlabelled} if self.unlabelled else {})

    @property
    def teaches(self) -> bool:
        """Whether a classifier learns from the models."""
        return bool(self.unlabelled) and self.ensemble.student is not None


def finetune_ensemble(config: DictConfig, run: RunFolder) -> RunFolder:
    """One seed: all models, then the classifier. What the folder holds already is not trained again.

    Raises:
        UserError: the folder holds models of other rows.
    """
    if is_finished(run) and any(key.startswith(TOGETHER) for key in run.read_summary()["metrics"]):
        return run
    parts = parts_of(config)
    generations, scores = train_generations(parts, run.path / MODELS)
    task, evaluation = parts.data.task, parts.data.evaluation
    given = {split: answers(task, rows, scores[split], parts.weights) for split, rows in evaluation.items()}
    metrics, records = scored(task, evaluation, given)
    if parts.teaches:
        soft = soft_labelled(parts, scores[UNLABELLED])
        finetune_once(config, run, lambda _: parts.data._replace(labelled_by_models=soft))
    else:
        write_together(config, run, list(chain(*generations)), metrics, records)
    run.summary({"metrics": run.read_summary()["metrics"] | beside(task, metrics, generations[-1])})
    return run


# ---- what is needed


def check_ensemble(config: DictConfig, task: Task) -> None:
    """Raise UserError for what would else be refused once models are trained."""
    ensemble, template = build(config.ensemble), build_formulation(config.formulation, config.template).template
    chosen_pattern(template, 0, task)
    for pattern, _ in ensemble.members(len(template.patterns)):
        chosen_pattern(template, pattern, task)
    if not (rows_to_label(ensemble, task) and ensemble.student) and config.evaluate_on:
        raise UserError("evaluate_on: the models of an ensemble that answer together are not kept; leave it out")


def parts_of(config: DictConfig) -> Parts:
    """Everything that is read before the first model is trained."""
    ensemble, data = build(config.ensemble), read_data(config)
    unlabelled = rows_to_label(ensemble, data.task)
    members = members_of(config, ensemble)
    return Parts(ensemble, data, unlabelled, members, weights_of(ensemble, members, data))


def rows_to_label(ensemble: Ensemble, task: Task) -> list[dict]:
    """Unlabelled rows that somebody learns from. Of a task with choices there are none: its models answer together.

    Raises:
        UserError: the task has no unlabelled rows.
    """
    if task.kind != "classification" or not (ensemble.student or ensemble.generations != 0):
        return []
    rows = task.unlabelled_rows()
    if not rows:
        raise UserError(
            f"task '{task.name}' has no rows for the ensemble to label: its data have no split"
            f" '{task.unlabelled_split}', and all training rows are learnt. Learn from fewer of them with"
            " task.max_train_rows, put a file of that name beside the others, or let the models answer together:"
            " ensemble=pet ensemble.student=null"
        )
    return sample(rows, ensemble.unlabelled_rows * task.num_outputs)


def without_text_to_label(config: DictConfig, task: Task) -> DictConfig:
    """The config for a task of a suite, some of which have no unlabelled rows: their models answer together."""
    if task.kind != "classification" or task.unlabelled_rows():
        return config
    say(f"{task.name}: there are no unlabelled rows, so the models of the ensemble answer together")
    config = config.copy()
    config.ensemble.student, config.ensemble.generations = None, 0
    return config


def members_of(config: DictConfig, ensemble: Ensemble) -> list[DictConfig]:
    """The config of each model: a pattern and a seed. As in the paper, no validation row chooses its checkpoint."""
    found = []
    for pattern, repetition in ensemble.members(len(config.template.patterns)):
        member = config.copy()
        member.formulation.pattern, member.seed = pattern, config.seed * ensemble.repetitions + repetition
        member.ensemble, member.evaluate_on = None, []
        member.trainer.eval_every, member.trainer.keep_checkpoints = None, 1
        found.append(member)
    return found


def weights_of(ensemble: Ensemble, members: Sequence[DictConfig], data: Data) -> list[float]:
    """What each model counts: how often its pattern is right on the training rows before any training.

    Raises:
        UserError: a pattern or its words do not fit the tokenizer, whatever they count.
    """
    torch.manual_seed(members[0].seed)  # of a head that is new
    start, found = starting_point(members[0]), {}
    for member in {member.formulation.pattern: member for member in members}.values():
        formulation = build_formulation(member.formulation, member.template)
        learner = formulation.learner(start.model, data.task, start.tokenizer, start.heads)
        if ensemble.weights == "accuracy":
            learner.eval().to(choose_device(member.trainer.device))
            found[member.formulation.pattern] = accuracy(ask(learner, formulation, data.rows, member), data.rows)
    if ensemble.weights == "uniform":
        return [1.0] * len(members)
    say("weights of the patterns: " + ", ".join(f"{pattern}: {weight:.3f}" for pattern, weight in found.items()))
    return [found[member.formulation.pattern] for member in members]


# ---- the models


def train_generations(parts: Parts, folder: Path) -> tuple[list[list[RunFolder]], dict[str, np.ndarray]]:
    """The models of each generation, and the scores (M, N, L) of the last ones of the rows of each split."""
    ensemble, data, members = parts.ensemble, parts.data, parts.members
    lessons, trained = [data] * len(members), []
    last = ensemble.num_generations(len(data.rows)) if parts.unlabelled else 0
    for generation in range(last + 1):
        here = folder / f"generation-{generation}" if generation else folder
        runs, each = [RunFolder(here / name_of(member)) for member in members], []
        for number, (member, run, lesson) in enumerate(zip(members, runs, lessons, strict=True), start=1):
            say(f"generation {generation} of {last}, model {number} of {len(members)}: {run.path.name}")
            each.append(learn(member, run, lesson, parts.asked))
        trained.append(runs)
        scores = {split: np.stack([found[split] for found in each]) for split in parts.asked}
        if generation < last:
            lessons = [lesson_for(model, parts, scores[UNLABELLED], generation + 1) for model in range(len(members))]
    return trained, scores


def name_of(member: DictConfig) -> str:
    """What the folder of a model is called."""
    return f"pattern-{member.formulation.pattern}-seed-{member.seed}"


def lesson_for(model: int, parts: Parts, scores: np.ndarray, generation: int) -> Data:
    """What a model learns in a later generation: the training rows, and unlabelled ones that others labelled."""
    ensemble, data = parts.ensemble, parts.data
    labels, seed = [row["target"] for row in data.rows], parts.members[model].seed
    drawn = ensemble.labelled_for(model, scores, parts.weights, labels, generation, seed)
    return data._replace(
        labelled_by_models=data.rows + [parts.unlabelled[row] | {"target": label} for row, label in drawn]
    )


def learn(member: DictConfig, run: RunFolder, lesson: Data, asked: dict[str, list[dict]]) -> dict[str, np.ndarray]:
    """Train a model unless it is done: its scores (N, L) of the rows of each split. Its weights go then.

    Raises:
        UserError: the scores are there, but of other rows, or learnt from others.
    """
    file, rows_hash = run.path / SCORES, f"{content_hash(*asked.values()):016x}"
    if not file.exists():
        finetune_once(member, run, lambda _: lesson)
        learner, formulation = load_again(run, member, lesson.task)
        found = {split: ask(learner, formulation, rows, member) for split, rows in asked.items()}
        np.savez(content := io.BytesIO(), rows_hash=rows_hash, **found)
        atomic_write(file, content.getvalue())
        shutil.rmtree(run.checkpoints)
    with np.load(file) as saved:
        found = dict(saved)
    if found.pop("rows_hash") != rows_hash or run.read_summary()["data_hash"] != lesson.hash:
        raise UserError(
            f"{relative(run.path)} learnt, or was asked, other rows than there are now; bring them back, or start anew"
            " without resume="
        )
    return found


def ask(learner: nn.Module, formulation: Formulation, rows: list[dict], member: DictConfig) -> np.ndarray:
    """What a model says of each label, or choice, of each row: (N, L)."""
    limit = tokens_of_a_pass(learner, member.trainer.micro_batch_tokens)
    return even(formulation.label_scores(learner, rows, limit))


# ---- what becomes of them


def soft_labelled(parts: Parts, scores: np.ndarray) -> list[dict]:
    """The unlabelled rows, each with what the ensemble finds probable in place of a label."""
    probable = shares(scores, parts.weights, parts.ensemble.temperature).tolist()
    return [row | {"target": target} for row, target in zip(parts.unlabelled, probable, strict=True)]


def write_together(
    config: DictConfig, run: RunFolder, models: Sequence[RunFolder], metrics: dict[str, float], records: list[dict]
) -> None:
    """The record of a run whose models answer together; what it took is what all of them took."""
    summaries = [model.read_summary() for model in models]
    shared = {key: summaries[0][key] for key in SHARED}
    summed = {key: sum(each[key] for each in summaries) for key in SUMMED}
    known = {key: models[0].environment()[key] for key in ("precision", "device")}
    run.start(to_plain(config), summaries[0]["command"], sys.argv, shared | summed | known | {"seed": config.seed})
    write_predictions(run, records)
    run.summary({"status": "finished", "metrics": metrics})
    report(f"{shared['task']}: finished", run.path, metrics, run.write_log)


def beside(task: Task, metrics: dict[str, float], models: Sequence[RunFolder]) -> dict[str, float]:
    """The task's metrics of all models together, `ensemble_<metric>`, and of one on average, `single_<metric>`."""
    keys = [task.metric_key(name, split) for split in task.evaluation_splits for name in task.metrics]
    each = [model.read_summary()["metrics"] for model in models]
    single = {f"single_{key}": fmean(found[key] for found in each) for key in keys}
    return {f"{TOGETHER}{key}": metrics[key] for key in keys} | single
