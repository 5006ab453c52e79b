"""lmlab finetune: put a task to a model, let it learn, score it; with several seeds, or a whole suite of tasks.

lmlab finetune task=pydocs_topic
LMLAB_DATA=data lmlab finetune task=sst2 init=outputs/pretrain/2026-01-31/12-00-00-bert-mlm seeds=3
LMLAB_DATA=data lmlab finetune suite=glue seeds=3
LMLAB_DATA=data lmlab finetune task=squad evaluate_on=[xquad.de,xquad.zh]
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from lmlab.commands.scores import show_elsewhere, show_seeds, show_suite
from lmlab.commands.session import say, settings_of_hydra
from lmlab.commands.transfer import build_task, finetune, main_metric, with_source
from lmlab.config.build import build, to_plain
from lmlab.config.check import check, check_formulation, trait
from lmlab.config.options import folders_of_job, given_keys
from lmlab.config.schema import compose
from lmlab.errors import UserError
from lmlab.formatting import figure
from lmlab.runs import find
from lmlab.runs.record import RunFolder, config_hash
from lmlab.runs.statistics import lower_is_better, over_seeds
from lmlab.tasks.base import Task
from lmlab.tasks.suite import Suite

HELD_OUT = "held_out"  # a split that no source has: the rows that are held out of the training rows
TRIALS = ".search"  # folder of the runs that tried a learning rate; no run to compare with others


def main(config: DictConfig) -> float:
    """Fine-tune. Returns the main metric of the task (its mean over seeds), or the average of the suite."""
    if config.suite is not None:
        return finetune_suite(config)
    check(config)
    config = with_source(config)
    if config.seeds > 1 or config.learning_rates:
        return main_metric(finetune_seeds(config))
    run = finetune(config)
    show_elsewhere(config.evaluate_on, HydraConfig.get().runtime.choices.task, run.read_summary()["metrics"])
    return main_metric(run)


# ---- several seeds


def finetune_seeds(config: DictConfig) -> RunFolder:
    """Runs that differ in their seed alone, each in a sub-folder, and their statistics in the folder above.

    With `resume=auto` seeds that are done are taken as they are, and one that was interrupted goes on in its folder.
    """
    if config.resume not in (None, "auto"):
        raise UserError(f"resume={config.resume} is one run, here are several: say resume=auto or seeds=1")
    folder = Path(HydraConfig.get().runtime.output_dir)
    config, search = with_best_rate(config, folder)
    finished = {}
    for seed in range(config.seed, config.seed + config.seeds):
        single = config.copy()
        single.seed, single.seeds, single.learning_rates = seed, 1, None
        done = finished_run(single) if config.resume == "auto" else None
        finished[seed] = done or finetune(single, folder / f"seed-{seed}")
        finished[seed].summary({"search": search})
    return together(RunFolder(folder), finished)


def together(folder: RunFolder, runs: Mapping[int, RunFolder]) -> RunFolder:
    """Write what several seeds have in common, the means of their metrics, and the statistics."""
    summaries = {seed: run.read_summary() for seed, run in runs.items()}
    first = next(iter(summaries.values()))
    shared = {key: value for key, value in first.items() if all(each[key] == value for each in summaries.values())}
    statistics = statistics_of({seed: each["metrics"] for seed, each in summaries.items()})
    means = {name: found["mean"] for name, found in statistics.items()}
    facts = {"command": "finetune", "status": "finished", "metrics": means, "statistics": statistics}
    folder.summary(shared | facts)
    show_seeds(folder)
    return folder


def statistics_of(metrics: Mapping[int, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Of every metric over the seeds; a flag (`degenerate`) that a run does not carry is 0 there."""
    names = dict.fromkeys(name for each in metrics.values() for name in each)
    columns = {name: {seed: each.get(name, 0.0) for seed, each in metrics.items()} for name in names}
    return {name: over_seeds(column, lower_is_better(name)) for name, column in columns.items()}


def finished_run(config: DictConfig) -> RunFolder | None:
    """The newest finished run of this experiment."""
    wanted = config_hash(to_plain(config))
    return find.latest(lambda run: run.read_summary()["config_hash"] == wanted and run.status() == "finished")


# ---- the learning rate


def with_best_rate(config: DictConfig, folder: Path) -> tuple[DictConfig, dict[str, Any] | None]:
    """The config with the best of `learning_rates`, and how it was found; unchanged and None where none are given.

    Each rate is tried with the first seed and judged on a part of the training rows that the trial does not learn
    from. The rows on which the task is scored take no part in the choice.
    """
    rates = config.learning_rates
    if not rates:
        return config, None
    check_rates(config)
    tried = {f"{rate:g}": main_metric(finetune(trial(config, rate), folder / TRIALS / f"{rate:g}")) for rate in rates}
    for weights in (folder / TRIALS).glob("*/checkpoints"):
        shutil.rmtree(weights)  # a trial's weights serve nothing
    chosen, config = max(tried, key=tried.__getitem__), config.copy()
    config.optimizer.lr = float(chosen)
    metric = build_task(config, config.task).metrics[0]
    share = f"{config.task.get('held_out', Task.held_out):.0%} of the training rows, held out"
    say(f"learning rate {chosen} chosen among {', '.join(f'{rate} ({figure(tried[rate])})' for rate in tried)}")
    return config, {"key": "optimizer.lr", "metric": metric, "on": share, "tried": tried, "chosen": float(chosen)}


def check_rates(config: DictConfig) -> None:
    """Raise UserError for rates that cannot be compared."""
    rates = list(config.learning_rates)
    if "optimizer.lr" in given_keys():
        raise UserError("optimizer.lr and learning_rates are both given: one rate, or several to choose among")
    if min(rates) <= 0 or len(set(rates)) < len(rates):
        raise UserError(f"learning_rates must be different numbers above 0, not {rates}")


def trial(config: DictConfig, rate: float) -> DictConfig:
    """The config of a run that tries one learning rate."""
    config = config.copy()
    config.optimizer.lr, config.seeds, config.learning_rates, config.resume = rate, 1, None, None
    config.evaluate_on = []
    with open_dict(config.task):  # most options leave these keys at their defaults
        config.task.validation, config.task.evaluation_splits = None, [HELD_OUT]
    return config


# ---- a suite of tasks


class Entry(NamedTuple):
    """A task of a suite: its name, the config that fine-tunes it, and the task itself."""

    name: str
    config: DictConfig
    task: Task


def finetune_suite(config: DictConfig) -> float:
    """Every task of a suite, each with all seeds, and the average. Returns the average."""
    if config.resume not in (None, "auto"):
        raise UserError(f"resume={config.resume} is one run, a suite has many: say resume=auto")
    if chosen := {"task"} & set(given_keys()):
        raise UserError(f"suite and {', '.join(chosen)} are both given: one task, or all of a suite")
    folder, suite = RunFolder(HydraConfig.get().runtime.output_dir), build(config.suite)
    entries = list(entries_of(suite, folder.path))
    suite.check({entry.name: entry.task for entry in entries})
    runs = {}
    for number, entry in enumerate(entries, start=1):
        say(f"{suite.name}, task {number} of {len(entries)}: {entry.name}")
        with settings_of_hydra(entry.config):
            runs[entry.name] = finetune_seeds(with_source(entry.config))
    statistics = statistics_of(averages_by_seed(suite, entries, runs))
    means = {name: found["mean"] for name, found in statistics.items()}
    shared = next(iter(runs.values())).read_summary()
    facts = {"command": "finetune", "status": "finished", "task": suite.name, "metrics": means}
    keys = ("model", "objective", "corruption", "corpus", "tuning", "init")
    folder.summary({key: shared[key] for key in keys} | facts | {"statistics": statistics})
    show_suite(suite, folder, runs)
    return means["average"]


def entries_of(suite: Suite, folder: Path) -> Iterator[Entry]:
    """The tasks of a suite as if each had been typed; all from one pre-trained model, all with their data there.

    Raises UserError with the name of the task for what would be refused once the first ones are trained.
    """
    init = None
    typed = [word for word in HydraConfig.get().overrides.task if not word.startswith("suite")]
    path = ",".join(f"'file://{each}'" for each in folders_of_job())
    for name in suite.tasks:
        place = [f"hydra.searchpath=[{path}]", f"hydra.run.dir='{folder / name}'"]
        config = compose("finetune", [*typed, f"task={name}", *place])
        config.init = init or config.init
        with settings_of_hydra(probe := config.copy()):
            try:
                task, config.init = check_entry(probe)
            except UserError as error:
                raise UserError(f"suite={suite.name}, task={name}: {error}") from error
        init = config.init
        yield Entry(name, config, task)


def check_entry(config: DictConfig) -> tuple[Task, str]:
    """The task of a config, and where its weights come from. Raises UserError for words or data that do not fit."""
    check(config)
    config = with_source(config)
    task = build_task(config, config.task)
    check_formulation(task, config.formulation, trait(to_plain(config.model), "layout")[0])
    next(iter(task.raw_rows(task.train_split)))  # the data are there
    return task, config.init


def averages_by_seed(suite: Suite, entries: list[Entry], runs: Mapping[str, RunFolder]) -> dict[int, dict[str, float]]:
    """seed -> the averages over the tasks, and every task's own number."""
    found = {name: run.read_summary()["statistics"] for name, run in runs.items()}
    averages = {}
    for seed in next(iter(found[entries[0].name].values()))["values"]:
        scores = {
            name: suite.score(name, task, {key: each["values"][seed] for key, each in found[name].items()})
            for name, _, task in entries
        }
        averages[int(seed)] = suite.averages(scores) | scores
    return averages
