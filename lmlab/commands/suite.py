"""All tasks of a suite, each with all seeds, and their average."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lmlab.commands.ensemble import check_ensemble, without_text_to_label
from lmlab.commands.scores import show_suite
from lmlab.commands.series import finetune_seeds, folder_of, series_hash, statistics_of
from lmlab.commands.session import say, settings_of_hydra
from lmlab.commands.transfer import build_task, other_tasks, with_source
from lmlab.config.build import build, to_plain
from lmlab.config.check import check, check_formulation, trait
from lmlab.config.options import folders_of_job, given_keys
from lmlab.config.schema import compose
from lmlab.errors import UserError
from lmlab.runs.record import RunFolder
from lmlab.tasks.base import Task
from lmlab.tasks.suite import Suite


class Entry(NamedTuple):
    """A task of a suite: its name, the config that fine-tunes it, and the task itself."""

    name: str
    config: DictConfig
    task: Task


def finetune_suite(config: DictConfig) -> float:
    """Fine-tune every task of a suite, one after the other. Returns the average."""
    if "task" in given_keys():
        raise UserError("suite and task are both given: one task, or all of a suite")
    folder, suite = folder_of(config), build(config.suite)
    entries = list(entries_of(suite, folder.path))
    suite.check({entry.name: entry.task for entry in entries})
    known = {"command": "finetune", "task": suite.name, "config_hash": series_hash(config)}
    folder.summary(known | {"status": "running"})
    runs = {}
    for number, entry in enumerate(entries, start=1):
        say(f"{suite.name}, task {number} of {len(entries)}: {entry.name}")
        with settings_of_hydra(entry.config):
            runs[entry.name] = finetune_seeds(with_source(entry.config), RunFolder(folder.path / entry.name))
    statistics = statistics_of(averages_by_seed(suite, entries, runs))
    means = {name: found["mean"] for name, found in statistics.items()}
    shared = next(iter(runs.values())).read_summary()
    words = {key: shared[key] for key in ("model", "objective", "corruption", "corpus", "tuning", "init")}
    folder.summary(known | words | {"status": "finished", "metrics": means, "statistics": statistics})
    show_suite(suite, folder, runs)
    return means["average"]


def entries_of(suite: Suite, folder: Path) -> Iterator[Entry]:
    """The tasks of a suite as if each had been typed, all from one pre-trained model.

    Raises UserError with the name of the task for what would else be refused hours from now.
    """
    typed = [word for word in HydraConfig.get().overrides.task if not word.lstrip("+~").startswith("suite")]
    path, init = ",".join(f"'file://{each}'" for each in folders_of_job()), None
    for name in suite.tasks:
        place = [f"hydra.searchpath=[{path}]", f"hydra.run.dir='{folder / name}'"]
        config = compose("finetune", [*typed, f"task={name}", *place])
        config.init, config.resume = init or config.init, None
        with settings_of_hydra(probe := config.copy()):
            try:
                task, config.init = check_entry(probe)
                if config.ensemble is not None:
                    config = without_text_to_label(config, task)
                    check_ensemble(config, task)
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
    for split in (task.train_split, *task.evaluation_splits):
        if next(iter(task.raw_rows(split)), None) is None:
            raise UserError(f"there are no rows in its split {split}")
    other_tasks(config, task)
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
