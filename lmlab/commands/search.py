"""Choosing a learning rate by rows that are neither learnt from nor reported."""

import math
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lmlab.commands.scores import tried_out
from lmlab.commands.session import say
from lmlab.commands.transfer import Data, finetune, main_metric, read_data
from lmlab.config.build import to_plain
from lmlab.config.options import given_keys
from lmlab.errors import Diverged, UserError
from lmlab.runs.record import RunFolder, config_hash

JUDGED = 0.1  # share of the training rows that judges the trials
HELD_OUT = "held_out"  # how they are called as a split
TRIALS = ".search"  # folder of the runs that tried a learning rate; no runs to compare with others


def with_best_rate(config: DictConfig, folder: Path) -> tuple[DictConfig, dict[str, Any] | None]:
    """The config with the best of `learning_rates`, and how it was found; unchanged and None where none are given.

    Each rate is tried with the first seed. It learns from nine tenths of the training rows and is judged by the others,
    so the rows on which the task is scored take no part. Of equal rates the first one is taken.

    Raises:
        UserError: the rates cannot be compared, or training diverges with all of them.
    """
    rates = config.learning_rates
    if rates is None:
        return config, None
    check_rates(config)
    tried = {rate: trial(config, rate, folder / TRIALS / repr(rate)) for rate in rates}
    scores = {rate: score for rate, score in tried.items() if score is not None}
    if not scores:
        raise UserError(f"learning_rates: training diverges with each of {', '.join(map(repr, tried))}; try lower ones")
    chosen, config = max(scores, key=scores.__getitem__), config.copy()
    config.optimizer.lr = chosen
    told = ", ".join(f"{rate:g}: {tried_out(score)}" for rate, score in tried.items())
    say(f"learning rate {chosen:g} chosen among {told}")
    search = {
        "key": "optimizer.lr",
        "metric": read_data(config).task.metrics[0],
        "on": f"{JUDGED:.0%} of the training rows, which the trials did not learn from",
        "tried": {repr(rate): score for rate, score in tried.items()},
        "chosen": chosen,
    }
    return config, search


def check_rates(config: DictConfig) -> None:
    """Raise UserError for rates that cannot be compared."""
    rates = list(config.learning_rates)
    if "optimizer.lr" in given_keys():
        raise UserError("optimizer.lr and learning_rates are both given: one rate, or several to choose among")
    if len(rates) < 2 or len(set(rates)) < len(rates) or not all(0 < rate < math.inf for rate in rates):
        raise UserError(f"learning_rates must be two or more different numbers above 0, not {rates}")


def trial(config: DictConfig, rate: float, folder: Path) -> float | None:
    """The score of one learning rate, None if it diverges. A trial that is done is not repeated; its weights go."""
    config, run = config.copy(), RunFolder(folder)
    config.optimizer.lr, config.seeds, config.learning_rates, config.resume = rate, 1, None, None
    config.evaluate_on, config.ensemble = [], None
    if not is_done(run, config):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            finetune(config, folder, read=judged_by_training_rows)
        except Diverged:
            return None
        finally:
            shutil.rmtree(run.checkpoints, ignore_errors=True)
    return main_metric(run)


def is_done(run: RunFolder, config: DictConfig) -> bool:
    """Whether a folder holds a finished trial of this config."""
    if not (run.path / "summary.json").exists() or run.status() != "finished":
        return False
    return run.read_summary()["config_hash"] == config_hash(to_plain(config))


def judged_by_training_rows(config: DictConfig) -> Data:
    """The training rows alone: some to learn from, the others to judge by."""
    data = read_data(config)
    rows, judged = data.task.split_training(data.rows, JUDGED)
    data.task.evaluation_splits = [HELD_OUT]
    return Data(data.task, rows, {HELD_OUT: judged})
