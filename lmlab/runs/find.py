"""Finding runs: the newest, the one that was named, the one that was interrupted."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from lmlab.errors import UserError, nearest
from lmlab.runs.record import RunFolder

MARKS = {"summary.json", "environment.json"}
Predicate = Callable[[RunFolder], bool]


def outputs_root() -> Path:
    """Where runs are kept: `outputs` under the current folder."""
    return Path("outputs")


def is_run(path: Path) -> bool:
    """Does the folder hold a run?"""
    return any((Path(path) / mark).is_file() for mark in MARKS)


def runs(root: str | os.PathLike | None = None) -> list[RunFolder]:
    """All runs at or under a folder (default: `outputs`), newest first, with jobs of sweeps and single seeds.

    A folder that tells of several runs, such as that of several seeds, is not listed beside them.
    """
    paths = list(_run_paths(root))
    above = {parent for path in paths for parent in path.parents}
    found = (RunFolder(path) for path in paths if path not in above)
    return sorted((run for run in found if not tells_of_several(run)), key=RunFolder.started, reverse=True)


def gatherings(root: str | os.PathLike | None = None) -> list[RunFolder]:
    """All folders at or under `root` (default: `outputs`) that tell of several runs: seeds of a task, a suite."""
    return [folder for folder in map(RunFolder, _run_paths(root)) if tells_of_several(folder)]


def tells_of_several(folder: RunFolder) -> bool:
    """Whether a folder holds statistics of several runs, and no run of its own. The runs may lie elsewhere."""
    if (folder.path / "config.yaml").exists():
        return False
    try:
        return bool(folder.read_summary()["statistics"])
    except ValueError:
        return False


def latest(predicate: Predicate | None = None, root: str | os.PathLike | None = None) -> RunFolder | None:
    """The newest run that can be read and for which `predicate` holds."""
    return next((run for run in runs(root) if _holds(run, predicate)), None)


def resolve(
    reference: str | os.PathLike,
    predicate: Predicate | None = None,
    what: str = "a run",
    *,
    make: str = "lmlab pretrain",
    checkpoint: bool = True,
) -> RunFolder:
    """The run that a user named.

    Args:
        reference: "latest", a run folder, a folder with runs in it (its newest is taken), or the end of a
            run's path, as `lmlab compare` shows it.
        predicate: which runs will do.
        what: those runs in words, for the messages: "a finished pretraining run".
        make: the command that would make one.
        checkpoint: only runs with a checkpoint will do.

    Raises:
        UserError: there is no such run; the message says why and what to give instead.
    """

    def fits(run: RunFolder) -> bool:
        return (not checkpoint or run.has_checkpoint()) and (predicate is None or predicate(run))

    if str(reference) == "latest":
        return latest(fits) or _refuse_latest(what, make)
    path = place(reference)
    found = runs(path) if path.is_dir() else []
    if not found:
        raise UserError(_not_a_run(path, reference))
    if path != found[0].path and (best := next((run for run in found if _holds(run, fits)), None)):
        return best
    return _checked(found[0], fits, what, checkpoint)


def place(reference: str | os.PathLike) -> Path:
    """The path that a user named: one that exists, or the end of the path of a run or of a folder of its seeds.

    Raises:
        UserError: there is none, or there are several.
    """
    path = Path(reference).expanduser()
    return path if path.exists() else _by_name(str(reference))


def interrupted(config_hash: str, root: str | os.PathLike | None = None) -> RunFolder | None:
    """The newest run of the same experiment that stopped before its end and can be resumed.

    Runs that are still being written do not count, nor those that a finished run of the experiment followed.
    """
    for run in runs(root):
        if not _holds(run, lambda run: run.read_summary()["config_hash"] == config_hash) or run.is_alive():
            continue
        if run.status() == "finished":
            return None
        if run.has_checkpoint(resumable=True):
            return run
    return None


def _run_paths(root: str | os.PathLike | None) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(root if root is not None else outputs_root()):
        subfolders[:] = [name for name in subfolders if name != "checkpoints" and not name.startswith(".")]
        if MARKS & set(files):
            yield Path(folder)


def _holds(run: RunFolder, predicate: Predicate | None) -> bool:
    try:
        run.read_summary()
        return predicate is None or predicate(run)
    except (ValueError, UserError):  # unreadable, or made of classes that are not here: not the run that was meant
        return False


def _checked(run: RunFolder, fits: Predicate, what: str, checkpoint: bool) -> RunFolder:
    try:
        summary = run.read_summary()
        if fits(run):
            return run
    except ValueError as error:
        raise UserError(f"{run.path} cannot be read: {error}") from error
    if checkpoint and not run.has_checkpoint():
        why = "it ended before its first one was saved"
        if summary["ensemble"] and run.status() == "finished":
            why = "the models of its ensemble answered together and were not kept; its scores are in summary.json"
        elif summary["command"] == "evaluate":
            why = "it scored another run, and trained nothing"
        raise UserError(
            f"{run.path} has no checkpoint ({run.status()}): {why}. Give another run; `lmlab compare` lists them."
        )
    names = [summary[key] for key in ("model", "objective", "task") if summary[key]]
    is_one = f"it is a run of `{summary['command']}` ({', '.join(names)}; {run.status()})"
    raise UserError(f"{run.path} is not {what}: {is_one}.")


def _by_name(reference: str) -> Path:
    """A run by the last part of its path, or by the time that this begins with; or a folder above that its name has."""
    everything = runs()
    *above, last = Path(reference).parts or ("",)
    paths = {path: None for run in everything for path in [run.path, *run.path.parents[: run.name.count("/")]]}
    ends = [path for path in paths if list(path.parts[-len(above) - 1 : -1]) == above]
    matches = [path for path in ends if path.name == last]
    matches = matches or [path for path in ends if last and path.name.startswith(f"{last}-")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"{reference} may be any of {', '.join(map(str, matches))}: give more of the path.")
    names = [str(run.path) for run in everything] + [run.name for run in everything]
    hint = nearest(reference, names) or ("; `lmlab compare` lists the runs there are." if everything else ".")
    raise UserError(f"There is no run {reference}{hint}")


def _refuse_latest(what: str, make: str) -> RunFolder:
    root, count = outputs_root().absolute(), len(runs())
    if count == 0:
        missing = f"There is no run in {root} yet"
    elif count == 1:
        missing = f"The one run in {root} is not {what}"
    else:
        missing = f"None of the {count} runs in {root} is {what}"
    raise UserError(f"{missing}. Make one with `{make}`, or name a run folder.")


def _not_a_run(path: Path, reference: str | os.PathLike) -> str:
    for parent in path.absolute().parents:
        if is_run(parent):
            return f"{reference} is a part of a run, not a run: give {parent}."
    if path.is_file():
        return f"{reference} is a file, not the folder of a run."
    if is_run(path):
        return f"{reference} tells of several runs, which do not lie in it: `lmlab compare` lists the runs there are."
    return f"{reference} is not a run, nor does it hold one: there is no summary.json in it."
