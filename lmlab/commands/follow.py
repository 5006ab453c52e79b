"""What is done with a finished model, `then` of lmlab pretrain: fine-tuned on a task, scored on another question.

The losses of different objectives cannot be compared; what their models are good for afterwards can.

lmlab pretrain objective=mlm_nsp 'then.topic="finetune task=pydocs_topic"' 'then.order="evaluate objective=sop"'
"""

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lmlab.commands.evaluate import another_question, ask, asks_without_training, formulation_node, refuse_task
from lmlab.commands.session import carry_out, relative, say, settings_of_hydra
from lmlab.commands.transfer import BRINGS_ITS_OWN
from lmlab.config.build import build, to_plain
from lmlab.config.check import check, check_formulation, in_one_message
from lmlab.config.explain import CONFIG_ERRORS, explain, unfinished_keys
from lmlab.config.nodes import trait
from lmlab.config.options import folders_of_job
from lmlab.config.schema import compose
from lmlab.errors import UserError
from lmlab.formatting import figure
from lmlab.objectives.base import Learner
from lmlab.runs.record import RunFolder
from lmlab.text.tokenizer import Tokenizer

# Of each command, the key that names the model, and other words that do not go with it.
COMMANDS = {"finetune": ("init", (*BRINGS_ITS_OWN, "resume")), "evaluate": ("run", ("format",))}


@dataclass(frozen=True)
class Follower:
    """One entry of `then`.

    Attributes:
        name: of the entry; its figures are called <name>_<metric>.
        command: `finetune` or `evaluate`.
        words: overrides, as on the command line.
    """

    name: str
    command: str
    words: tuple[str, ...]

    @property
    def keys(self) -> set[str]:
        """The keys and groups that the words set."""
        return {word.split("=")[0].lstrip("+~").split("@")[0] for word in self.words}

    def config(self, pretrained: DictConfig, run: RunFolder) -> DictConfig:
        """Its config, `hydra` node included: seed, folders and device as in the run, unless the words say otherwise."""
        folders = ",".join(f"'file://{folder}'" for folder in folders_of_job())
        device = "device" if self.command == "evaluate" else "trainer.device"
        inherited = {"seed": pretrained.seed} if self.command == "finetune" else {}
        inherited |= {key: pretrained[key] for key in ("data_dir", "cache_dir")} | {device: pretrained.trainer.device}
        inherited |= {COMMANDS[self.command][0]: str(relative(run.path))}
        words = [f"{key}={_value(value)}" for key, value in inherited.items() if key not in self.keys]
        # As words, not set afterwards: a suite reads the words again for each of its tasks.
        return compose(self.command, [*self.words, *words, f"hydra.searchpath=[{folders}]"])


def _value(value: Any) -> str:
    """A value as Hydra reads it on the command line."""
    if not isinstance(value, str):
        return "null" if value is None else str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def followers(config: DictConfig) -> list[Follower]:
    """The entries of `then`. Raises UserError, with the dotted key, for one that is no command."""
    return [_read(name, words) for name, words in (to_plain(config.get("then")) or {}).items()]


def _read(name: str, words: Any) -> Follower:
    if isinstance(words, str):
        words = shlex.split(words)
    if not isinstance(words, list) or not words:
        raise UserError(f"then.{name} must be a command with its words, as 'finetune task=...', not {words!r}")
    command, *rest = map(str, words)
    if not re.fullmatch(r"\w+", name):
        raise UserError(f"then.{name}: the name begins the names of metrics: letters, digits and _ only")
    if command not in COMMANDS:
        raise UserError(f"then.{name}: {command!r} is not {' or '.join(COMMANDS)}")
    follower = Follower(name, command, tuple(rest))
    model, others = COMMANDS[command]
    if superfluous := follower.keys & {model, *others}:
        raise UserError(f"then.{name}: leave out {', '.join(sorted(superfluous))}; the model is that of this run")
    return follower


def check_followers(
    entries: list[Follower], pretrained: DictConfig, run: RunFolder, learner: Learner, tokenizer: Tokenizer
) -> None:
    """Raise one UserError for all that would be refused once the model is trained, hours from now."""
    problems = []
    for entry in entries:
        try:
            _check(entry, pretrained, run, learner, tokenizer)
        except UserError as error:
            problems.append(f"then.{entry.name}: {error}")
        except CONFIG_ERRORS as error:
            problems.append(f"then.{entry.name}: {explain(error, entry.command, list(entry.words))}")
    if problems:
        raise UserError(in_one_message(problems))


def _check(entry: Follower, pretrained: DictConfig, run: RunFolder, learner: Learner, tokenizer: Tokenizer) -> None:
    if entry.name in learner.objective.terms:
        raise UserError(f"the objective itself reports {entry.name}_loss: give the entry another name")
    config = entry.config(pretrained, run)
    with settings_of_hydra(config):
        if problems := unfinished_keys(config):
            raise UserError(in_one_message(problems))
        check(config)
        layout = trait(to_plain(pretrained.model), "layout")[0]
        if entry.command == "finetune":
            check_formulation(config.task, config.formulation, layout)
            task = build(config.task, data_dir=config.data_dir, cache_dir=config.cache_dir)
            next(iter(task.raw_rows(task.train_split)), None)  # the data are there
        elif config.task is None:
            ask(learner, another_question(pretrained, config), tokenizer)
        elif asks_without_training(config):
            check_formulation(config.task, formulation_node(config), layout)
        else:
            refuse_task(config, "the model", layout)


def follow(entries: list[Follower], pretrained: DictConfig, run: RunFolder) -> None:
    """Carry all of them out, in order, and write their figures into the summary of the run.

    Raises:
        UserError: for all that failed, when the others are done. The run itself stays finished.
    """
    problems = []
    for entry in entries:
        try:
            _carry_out(entry, pretrained, run)
        except UserError as error:
            problems.append(f"then.{entry.name}: {error}")
    if problems:
        folders = [word for word in HydraConfig.get().overrides.task if word.startswith(("data_dir=", "cache_dir="))]
        again = shlex.join(["lmlab", "pretrain", *folders, f"resume={relative(run.path)}"])
        raise UserError(f"{in_one_message(problems)}\nThe model itself is finished. To try again: {again}")


def _carry_out(entry: Follower, pretrained: DictConfig, run: RunFolder) -> None:
    config = entry.config(pretrained, run)
    key = COMMANDS[entry.command][0]
    line = ["lmlab", entry.command, *entry.words, f"{key}={config[key]}"]
    if entry.command == "finetune" and "seed" not in entry.keys:
        line.append(f"seed={config.seed}")
    say(f"Then {entry.name}: {shlex.join(line)}")
    with _typed(line), redirect_stdout(sys.stderr):  # standard output is for what the command itself has to say
        done = carry_out(entry.command, config)
    figures = {f"{entry.name}_{name}": value for name, value in done.read_summary()["metrics"].items()}
    run.summary({"metrics": run.read_summary()["metrics"] | figures})
    told = ", ".join(f"{name} {figure(value)}" for name, value in figures.items())
    say(f"Then {entry.name}: {told}")
    run.write_log(f"Then {entry.name}: {told} ({relative(done.path)})")


@contextmanager
def _typed(line: list[str]) -> Iterator[None]:
    """Let records and hints show `line` as what was typed."""
    before, sys.argv = sys.argv, line
    try:
        yield
    finally:
        sys.argv = before
