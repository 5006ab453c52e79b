"""Several fine-tuning runs that make one result: the seeds of a task, each in a sub-folder, and their statistics."""

import json
from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lmlab.commands.ensemble import finetune_ensemble
from lmlab.commands.scores import show_seeds
from lmlab.commands.search import with_best_rate
from lmlab.commands.session import relative, say
from lmlab.commands.transfer import finetune_once, read_data
from lmlab.config.build import to_plain
from lmlab.errors import UserError
from lmlab.runs.find import outputs_root
from lmlab.runs.record import RunFolder
from lmlab.runs.statistics import lower_is_better, over_seeds
from lmlab.tasks.base import content_hash

PLACES = {"cache_dir", "data_dir", "notes", "resume", "seeds"}  # keys that may change when a series goes on


def finetune_seeds(config: DictConfig, folder: RunFolder) -> RunFolder:
    """Runs that differ in their seed alone, and their statistics in the folder above.

    Seeds that the folder holds already are taken as they are, and one that was interrupted goes on.

    Raises:
        UserError: the folder's seeds were trained on other data.
    """
    folder.summary({"command": "finetune", "status": "running", "config_hash": series_hash(config)})
    refuse_other_data(config, folder)
    config, search = with_best_rate(config, folder.path)
    finished = {}
    for seed in range(config.seed, config.seed + config.seeds):
        single = config.copy()
        single.seed, single.seeds, single.learning_rates = seed, 1, None
        finished[seed] = one_seed(single, RunFolder(folder.path / f"seed-{seed}"))
        finished[seed].summary({"search": search})
    return together(folder, finished)


def one_seed(config: DictConfig, run: RunFolder) -> RunFolder:
    """The run of one seed: as it is if it is finished, else trained, or trained on."""
    return finetune_once(config, run) if config.ensemble is None else finetune_ensemble(config, run)


def together(folder: RunFolder, runs: Mapping[int, RunFolder]) -> RunFolder:
    """Write what several seeds have in common, the means of their metrics, and the statistics."""
    summaries = {seed: run.read_summary() for seed, run in runs.items()}
    first = next(iter(summaries.values()))
    shared = {key: value for key, value in first.items() if all(each[key] == value for each in summaries.values())}
    statistics = statistics_of({seed: each["metrics"] for seed, each in summaries.items()})
    means = {name: found["mean"] for name, found in statistics.items()}
    facts = {"command": "finetune", "status": "finished", "metrics": means, "statistics": statistics}
    folder.summary(shared | facts | {"config_hash": folder.read_summary()["config_hash"]})
    show_seeds(folder)
    return folder


def statistics_of(metrics: Mapping[int, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Of every metric over the seeds; a flag (`degenerate`) that a run does not carry is 0 there."""
    names = dict.fromkeys(name for each in metrics.values() for name in each)
    columns = {name: {seed: each.get(name, 0.0) for seed, each in metrics.items()} for name in names}
    return {name: over_seeds(column, lower_is_better(name)) for name, column in columns.items()}


# ---- going on


def folder_of(config: DictConfig) -> RunFolder:
    """Where several runs go: the folder of the job; with `resume=auto` the newest of the same words, if there is one.

    More seeds than before join those that are there. Raises UserError when a single run is named.
    """
    if config.resume not in (None, "auto"):
        raise UserError(f"resume={config.resume} is one run, and here are several: say resume=auto")
    wanted, here = series_hash(config), RunFolder(HydraConfig.get().runtime.output_dir)
    earlier = [each for each in series_folders() if each.read_summary()["config_hash"] == wanted]
    if config.resume is None or not earlier:
        return here
    newest = max(earlier, key=lambda each: (each.path / "summary.json").stat().st_mtime)
    say(f"Going on in {relative(newest.path)}")
    return newest


def series_folders() -> list[RunFolder]:
    """The folders of several seeds, and of suites: they have a summary, but no config of a single run."""
    paths = (path.parent for path in (outputs_root() / "finetune").rglob("summary.json"))
    return [RunFolder(path) for path in paths if not (path / "config.yaml").exists()]


def series_hash(config: DictConfig) -> str:
    """What two series share that may be one: everything but places and the number of seeds."""
    words = {key: value for key, value in to_plain(config).items() if key not in PLACES}
    return f"{content_hash(json.dumps(words, sort_keys=True)):016x}"


def refuse_other_data(config: DictConfig, folder: RunFolder) -> None:
    """Raise UserError when the seeds of a folder were trained on rows that are no longer the same."""
    hashes = {RunFolder(path.parent).read_summary()["data_hash"] for path in folder.path.glob("seed-*/summary.json")}
    if hashes - {None} and hashes - {None} != {read_data(config).hash}:
        raise UserError(
            f"{relative(folder.path)} cannot go on: its training data are no longer the same; bring them back, or start"
            " anew without resume="
        )
