"""What every training command does around its training: open or resume a run, carry it out, close its record."""

import importlib
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lmlab.config.build import to_plain
from lmlab.config.options import given_keys
from lmlab.config.schema import compose
from lmlab.engine.checkpoint import Checkpoints
from lmlab.engine.trainer import Settings, Trainer
from lmlab.errors import UserError
from lmlab.runs import find
from lmlab.runs.record import RunFolder, config_hash, defines_experiment, flatten
from lmlab.text.tokenizer import Tokenizer

# What the command line may change in the experiment of a run that it resumes: its budget.
MAY_CHANGE = (
    "trainer.max_steps",
    "trainer.max_tokens",
    "trainer.max_minutes",
    "trainer.max_epochs",
    "trainer.patience",
)


class Session:
    """One training run from its folder to its summary.

    Args:
        config: of the command.
        folder: where a new run goes; the folder that Hydra made when not given.

    Attributes:
        config: the same, or what the resumed run was started with.
        run: the folder of the run.
        resumed: whether the run goes on from a checkpoint.
    """

    def __init__(self, config: DictConfig, folder: Path | None = None):
        self.command = HydraConfig.get().job.name
        self.started = time.perf_counter()
        self.config, self.resumed = config, False
        self.run = RunFolder(unused(Path(folder or HydraConfig.get().runtime.output_dir)))
        if earlier := self._earlier_run():
            self._continue(earlier)
        self.run.path.mkdir(parents=True, exist_ok=True)

    # ---- resuming

    def _earlier_run(self) -> RunFolder | None:
        """The run that `resume` asks for; where it asks for none, tell of one that could be resumed."""
        stopped = find.interrupted(config_hash(to_plain(self.config)))
        reference = self.config.resume
        if reference is None:
            if stopped:
                say(f"An earlier run of this experiment stopped early: {relative(stopped.path)}")
                say(f"To go on with it instead: {command_line()} resume=auto")
            return None
        if reference == "auto":
            if stopped is None:
                say("resume=auto: no run of this experiment was interrupted, so a new one starts.")
            return stopped
        return find.resolve(reference, self._is_resumable, f"an interrupted run of lmlab {self.command}")

    def _is_resumable(self, run: RunFolder) -> bool:
        return run.read_summary()["command"] == self.command and run.has_checkpoint(resumable=True)

    def _continue(self, earlier: RunFolder) -> None:
        """Take the run's own config, refusing what the command line would change in it."""
        saved, asked = OmegaConf.create(earlier.config()), self.config
        changed = differences(to_plain(saved), to_plain(asked), given_keys())
        fixed = (key for key in changed if defines_experiment(key) and key not in MAY_CHANGE)
        refused = [f"{key}: {changed[key][0]} in the run, {changed[key][1]} now" for key in fixed]
        if refused:
            raise UserError(
                f"{relative(earlier.path)} cannot be resumed with another experiment; these keys differ:\n  "
                + "\n  ".join(refused)
                + "\nLeave them out to go on with the run as it was, or start a new run without resume="
            )
        for key, (_, value) in changed.items():
            OmegaConf.update(saved, key, value)
        for key in ("data_dir", "cache_dir", "resume"):
            saved[key] = asked[key]
        self.config, self.run, self.resumed = saved, earlier, True

    def settings(self, trainer: dict[str, Any]) -> Settings:
        """The settings of the loop; a resumed run keeps the precision that `auto` chose when it was started."""
        settings = Settings.of(trainer)
        if self.resumed and settings.precision == "auto":
            settings.precision = self.run.environment().get("precision", "auto")
        return settings

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the resumed run, or None: the corpus may have changed since, and would train another."""
        return Tokenizer.load(self.run.path / "tokenizer.json") if self.resumed else None

    def refuse_other_data(self, data_hash: str) -> None:
        """Raise UserError when the text of a resumed run is no longer what it was."""
        if self.resumed and self.run.read_summary()["data_hash"] not in (None, data_hash):
            raise UserError(
                f"{relative(self.run.path)} cannot be resumed: its training data are no longer the same; "
                "bring them back, or start a new run without resume="
            )

    def restore(self, trainer: Trainer) -> None:
        """Bring `trainer` to where the resumed run stopped; a run that is not resumed starts at step 0."""
        if not self.resumed:
            return
        found = Checkpoints(self.run.checkpoints).load_last_good(trainer.progress.message, trainer.device)
        if found is None:
            raise UserError(f"{relative(self.run.path)} has no whole checkpoint: start a new run without resume=")
        trainer.resume(*found)
        trainer.progress.message(f"Resumed {relative(self.run.path)} at step {trainer.state.step}")

    # ---- carrying out

    def train(self, trainer: Trainer, **facts: Any) -> dict[str, float]:
        """Record the run, train, and close its record whatever happens. Returns the last validation metrics.

        Args:
            facts: keys of the summary that are known by now, such as `data_hash`.

        Raises:
            SystemExit: with code 130 after Ctrl-C, the checkpoint being saved.
        """
        self.restore(trainer)
        words = {"precision": "bf16" if trainer.weights.separate else "fp32", "device": str(trainer.device)}
        self.run.start(to_plain(self.config), self.command, sys.argv, self._names() | count(trainer) | words | facts)
        self.run.truncate_after(trainer.state.step)
        try:
            metrics = trainer.fit()
        except BaseException as error:
            with suppress(OSError):  # a full disk: what happened is told all the same
                self._close(trainer, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        if trainer.interrupted:
            self._close(trainer, "interrupted")
            say(f"Stopped at step {trainer.state.step}. To go on: {resume_line()}")
            raise SystemExit(130)
        return metrics

    def finish(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """Close the record of a run that reached its end."""
        self._close(trainer, "finished", metrics)

    def _close(self, trainer: Trainer, status: str, metrics: dict[str, float] | None = None) -> None:
        state, settings = trainer.state, trainer.settings
        best = {"metric": settings.best_metric, "value": state.best_value, "step": state.best_step}
        self.run.summary(
            {
                "status": status,
                "steps": state.step,
                "tokens": state.tokens,
                "predicted_tokens": state.predicted_tokens,
                "train_seconds": round(state.train_seconds, 3),
                "wall_seconds": round(time.perf_counter() - self.started, 3),
                "tokens_per_second": round(state.tokens / state.train_seconds, 1) if state.train_seconds else None,
                "metrics": metrics or trainer.metrics,
                "best": best if state.best_step is not None else None,
            }
        )

    def _names(self) -> dict[str, Any]:
        """Which option each group of the sentence took; those of a resumed run stand in its record already."""
        if self.resumed:
            return {}
        choices = HydraConfig.get().runtime.choices
        groups = ("model", "objective", "corruption", "corpus", "task", "formulation", "ensemble", "tuning")
        named = {group: choices[group] for group in groups if choices.get(group)}
        return named | {"seed": self.config.seed, "init": self.config.get("init")}


def count(trainer: Trainer) -> dict[str, Any]:
    """Weights of the learner, a tied one counted once."""
    total = sum(weight.numel() for weight in trainer.weights.masters.values())
    return {
        "parameters": {
            "total": total,
            "trainable": sum(weight.numel() for weight in trainer.weights.trainable),
        }
    }


def differences(saved: dict, asked: dict, given: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """Keys that the command line gave and that a saved config has otherwise: (value saved, value asked for)."""
    before, now = flatten(saved), flatten(asked)
    given = tuple(given)
    return {
        key: (before.get(key, "absent"), now.get(key, "absent"))
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
        and any(key == each or key.startswith(f"{each}.") or each == "experiment" for each in given)
    }


def command_line() -> str:
    """What was typed, ready to be typed again."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    if words[0] in ("__main__.py", "-m", "-c"):
        words[0] = "lmlab"
    return shlex.join(words)


def resume_line() -> str:
    """The command line that goes on with the run of this one."""
    words = [word for word in shlex.split(command_line()) if not word.startswith("resume=")]
    return shlex.join([*words, "resume=auto"])


def unused(folder: Path) -> Path:
    """`folder`, or with a number behind it: two runs of the same words may start in the same second."""
    candidates = (folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 1000)))
    return next(each for each in candidates if not find.is_run(each))


def relative(path: Path) -> Path:
    """`path` as short as it can be said from here."""
    path, here = Path(path).absolute(), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def say(text: str) -> None:
    """A line for the person at the terminal, on standard error like all progress."""
    print(text, file=sys.stderr, flush=True)


def run(command: str, overrides: list[str] | None = None) -> RunFolder:
    """Carry out `pretrain`, `finetune` or `evaluate` from Python: `run("pretrain", ["model=bert"])`.

    Returns the folder of the run. Raises UserError for a mistake, and Hydra's exceptions for overrides that it cannot
    read.
    """
    if command not in ("pretrain", "finetune", "evaluate"):
        raise UserError(
            f"run takes pretrain, finetune or evaluate, not {command!r}; lmlab.load(run) fills and generates"
        )
    config = compose(command, overrides)
    if config.hydra.mode == RunMode.MULTIRUN:
        raise UserError(f"this is a sweep, of several runs: lmlab {command} {shlex.join(overrides or [])}")
    return carry_out(command, config)


def carry_out(command: str, config: DictConfig) -> RunFolder:
    """Carry out a composed command, whose `hydra` node says where it writes. Returns the folder of its run."""
    with settings_of_hydra(config) as folder:
        importlib.import_module(f"lmlab.commands.{command}").main(config)
    return RunFolder(folder) if find.is_run(folder) else find.runs()[0]  # a resumed run stays in its own folder


@contextmanager
def settings_of_hydra(config: DictConfig) -> Iterator[Path]:
    """Let HydraConfig tell what the `hydra` node of `config` says; afterwards what it told before.

    The node is taken out of `config`, as Hydra does for its jobs. Yields the output folder.
    """
    instance = HydraConfig.instance()
    before = instance.cfg
    try:
        instance.set_config(config)
        folder = unused(Path(instance.get().run.dir))
        with read_write(config.hydra), open_dict(config):
            config.hydra.runtime.output_dir = str(folder.absolute())
            instance.set_config(config)
            del config["hydra"]
        yield folder
    finally:
        instance.cfg = before
