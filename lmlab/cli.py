"""The command line: which commands there are, what each is handed, and how a mistake is told.

Nothing heavy is imported here: `lmlab --help`, `--cfg job` and completion answer without torch.
"""

import errno
import gc
import importlib
import io
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lmlab import __version__
from lmlab.errors import UserError, nearest


class Command(NamedTuple):
    """A row of the table of commands.

    Attributes:
        summary, example: for `lmlab --help`.
        composed: Hydra makes its config from conf/<name>.yaml.
        takes_text: one argument is a text, not a setting.
        prints: nothing is lost when it ends with the reader of its output, as `head`.
    """

    summary: str
    example: str
    composed: bool = True
    takes_text: bool = False
    prints: bool = False


COMMANDS = {
    "pretrain": Command(
        "train a model on plain text, by itself",
        "lmlab pretrain model=bert objective=mlm corpus=pydocs",
    ),
    "finetune": Command(
        "adapt a pre-trained model to a labelled task",
        "lmlab finetune task=pydocs_topic init=latest seeds=3",
    ),
    "evaluate": Command(
        "score a run on its task, on another one, or on held-out text",
        "lmlab evaluate run=latest",
    ),
    "fill": Command(
        "let a model fill in the blanks of a text",
        'lmlab fill "Return a new [MASK] object." top_k=5',
        takes_text=True,
        prints=True,
    ),
    "generate": Command(
        "let a model continue a text",
        'lmlab generate "The function returns" max_new_tokens=40',
        takes_text=True,
        prints=True,
    ),
    "audit": Command(
        "measure what a model would see and be asked, beside what is expected",
        "lmlab audit model=bert objective=mlm_nsp corpus=pydocs",
    ),
    "plan": Command(
        "parameters, FLOPs, memory and time of a run, before any is spent; --all: of every preset",
        "lmlab plan model=gpt3_175b",
        prints=True,
    ),
    "export": Command(
        "write a run in the Hugging Face format, for transformers",
        "lmlab export run=latest to=my-model",
    ),
    "compare": Command(
        "a table of runs: what differs, and what came of it",
        "lmlab compare outputs/pretrain",
        composed=False,
        prints=True,
    ),
    "data": Command(
        "list the known data sets, or fetch one for a machine without network",
        "lmlab data get squad to=data",
        composed=False,
        prints=True,
    ),
}


SHOWING = {
    "--help",
    "-h",
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--hydra-help",
}  # flags that print and do nothing else


def main(argv: list[str] | None = None) -> int:
    """Run one command line, by default that of the process.

    Returns the exit code: 0 done, 1 a mistake of the user's (told), 130 interrupted.
    """
    typed, of_process = sys.argv, argv is None
    if argv is None:
        argv = typed[1:]
        if _only_prints(argv):
            _end_quietly_with_the_reader()
    else:
        sys.argv = ["lmlab", *argv]
    try:
        return _dispatch(argv)
    except UserError as error:
        _tell(error)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    finally:
        sys.argv = typed
        if of_process:
            gc.freeze()  # or the interpreter would look for garbage in all of torch before it ends: 0.3 s


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        _print_commands()
        return 0
    name, rest = argv[0], argv[1:]
    if name == "--version":
        print(f"lmlab {__version__}")
        return 0
    if name in ("-sc", "--shell-completion"):
        return _complete(rest)
    if name.startswith("-"):
        raise UserError(f"the command comes first: lmlab <{'|'.join(COMMANDS)}> ..., and {name} after it")
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        hint = nearest(name, COMMANDS)
        raise UserError(f"there is no command {name!r}{hint}\nThe commands: {known} (lmlab --help)")
    if COMMANDS[name].composed:
        return _run_composed(name, rest)
    return int(importlib.import_module(f"lmlab.commands.{name}").main(rest) or 0)


def _only_prints(argv: list[str]) -> bool:
    if not argv or SHOWING & {argument.split("=")[0] for argument in argv}:
        return True
    return argv[0] in COMMANDS and COMMANDS[argv[0]].prints


def _end_quietly_with_the_reader() -> None:
    """For output piped into `head` or `less`: stop when they do. Not for training: it has its own pipes."""
    with suppress(AttributeError, ValueError):  # no such signal on Windows; not the main thread
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _print_commands() -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]lmlab {__version__}[/] - a lab for self-supervised language models\n")
    console.print("  lmlab <command> \\[group=option ...] \\[key=value ...]\n\n[bold]Commands[/]")
    for name, command in COMMANDS.items():
        console.print(f"  [bold]{name:<9}[/] {escape(command.summary)}")
        console.print(f"            [cyan]{escape(command.example)}[/]")
    console.print("\nWhat a command understands: lmlab <command> --help")


def _tell(error: UserError | str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"error: {error}\n")


# --- commands whose config Hydra composes ---


def _run_composed(name: str, argv: list[str]) -> int:
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    argv = _without_switches(name, argv)
    flags, arguments = _split_flags(parser, argv, keep_unknown=COMMANDS[name].takes_text)
    text = None
    if COMMANDS[name].takes_text:
        needed = not (SHOWING | {"-sc", "--shell-completion"}) & {flag.split("=")[0] for flag in flags}
        text, arguments = _take_text(arguments, _setting_names(name), needed)
    parser.error = _refuse_flags  # type: ignore[method-assign]  # argparse would print its usage and exit with 2
    options = parser.parse_args([*arguments, *flags])
    modes = (options.run, options.multirun, options.cfg, options.shell_completion, options.info)
    if sum(map(bool, modes)) > 1:
        raise UserError("only one of --run, --multirun, --cfg, --info and --shell-completion can be given")
    if options.resolve and not options.cfg:
        raise UserError("--resolve goes with --cfg")
    if options.help:
        return _print_help(name, arguments, options.config_dir)
    if COMMANDS[name].takes_text and needed and text is None:
        raise UserError(f"{name} needs a text: {COMMANDS[name].example}")
    return _Jobs(name, text).run(flags, arguments, options.config_dir)


def _without_switches(command: str, argv: list[str]) -> list[str]:
    """`--all` for all=true: every key of the command that is false by itself can be switched on so."""
    from lmlab.config.options import root_keys

    switches = {f"--{key.name}": f"{key.name}=true" for key in root_keys(command) if key.value == "false"}
    return [switches.get(argument, argument) for argument in argv]


def _refuse_flags(message: str) -> None:
    raise UserError(message)


def _split_flags(parser: Any, argv: list[str], keep_unknown: bool) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the other arguments; in any order, `--` ends the flags.

    An unknown flag is a mistake, unless `keep_unknown`: then it may be a text that begins with "-".
    """
    flags: list[str] = []
    others: list[str] = []
    known = {option: action for action in parser._actions for option in action.option_strings}
    index = 0
    while index < len(argv):
        argument = argv[index]
        index += 1
        if argument == "--":
            return flags, others + argv[index:]
        action = known.get(argument.split("=")[0]) if argument.startswith("-") else None
        if action is None:
            if argument.startswith("-") and not keep_unknown:
                raise UserError(f"there is no flag {argument!r}{nearest(argument, known)}")
            others.append(argument)
            continue
        flags.append(argument)
        follows = argv[index] if index < len(argv) and "=" not in argument else None
        if follows is not None and (action.nargs is None or (action.nargs == "?" and follows in action.choices)):
            flags.append(argv[index])
            index += 1
    return flags, others


def _take_text(arguments: list[str], names: set[str], needed: bool) -> tuple[str | None, list[str]]:
    """The first argument that is no setting of the command, else (if needed) the first one; and what is left.

    The text never passes through Hydra's grammar, so it may hold any characters.
    """
    index = next((index for index, each in enumerate(arguments) if not _is_setting(each, names)), 0)
    if not arguments or (not needed and _is_setting(arguments[index], names)):
        return None, arguments
    return arguments[index], arguments[:index] + arguments[index + 1 :]


def _is_setting(argument: str, names: set[str]) -> bool:
    match = re.match(r"(?:\+{1,2}|~)?([A-Za-z_]\w*)[\w./@:-]*=", argument)
    return bool(match) and match[1] in names


def _setting_names(command: str) -> set[str]:
    """What an override of the command may begin with: its keys, its groups, and Hydra's own node."""
    from lmlab.config.options import root_groups, root_keys

    return {"hydra", *(key.name for key in root_keys(command)), *root_groups(command)}


def _print_help(name: str, arguments: list[str], config_dir: str | None) -> int:
    from lmlab.config.help import print_help

    if config_dir and not Path(config_dir).is_dir():
        raise UserError(f"--config-dir {config_dir}: there is no such folder")
    print_help(name, COMMANDS[name].summary, COMMANDS[name].example, arguments, config_dir)
    return 0


class _Jobs:
    """The job, or with `-m` the jobs, of one command line; a refused one is told why and leaves no folder."""

    def __init__(self, command: str, text: str | None) -> None:
        self.command = command
        self.text = text
        self.argv = sys.argv
        self.process = os.getpid()
        self.started = time.time()
        self.failed: list[str] = []
        self.sweep: Path | None = None
        self.crash: BaseException | None = None

    def run(self, flags: list[str], overrides: list[str], config_dir: str | None) -> int:
        import hydra

        from lmlab.config import conf_dir
        from lmlab.config.explain import CONFIG_ERRORS, explain
        from lmlab.config.options import chosen_by_keys, search_folders, without_nulls
        from lmlab.config.schema import register

        register()
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands exceptions on instead of printing them and exiting
        program = "lmlab" if self.argv[0].endswith(("__main__.py", "-m", "-c")) else self.argv[0]
        decorate = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=self.command)
        try:
            chosen = chosen_by_keys(self.command, overrides, search_folders(config_dir))
            overrides = [*chosen, *without_nulls(self.command, overrides)]
            sys.argv = [program, *overrides, *flags]
            decorate(self.job)()
        except (*CONFIG_ERRORS, ValueError, OSError) as error:
            if error is self.crash:
                raise
            raise UserError(explain(error, self.command, overrides, config_dir)) from error
        finally:
            sys.argv = self.argv
            self._remove_empty_sweeps()
        self._compare()
        if any(self.failed):  # the titles of jobs; a single run has none
            _tell(f"{len(self.failed)} of the jobs failed: {', '.join(self.failed)}")
        return 1 if self.failed else 0

    def job(self, config: Any) -> Any:
        """One job: the command itself. A mistake of the user's is told at once; later jobs still run."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        sys.argv = self.argv  # as it was typed: the record of the run notes it
        hydra = HydraConfig.get()
        sweeping = hydra.mode == RunMode.MULTIRUN
        title = f"job {hydra.job.num} ({' '.join(hydra.overrides.task)})" if sweeping else ""
        if sweeping:
            self.sweep = Path(hydra.sweep.dir)
            sys.stderr.write(f"{title}\n")
        try:
            return self._call(config)
        except UserError as error:
            if os.getpid() != self.process:  # a launcher that runs jobs elsewhere brings the exception back
                raise
            self.failed.append(title)
            _tell(f"{title}: {error}" if sweeping else error)
            return None
        except Exception as error:
            self.crash = error
            if not sweeping or os.getpid() != self.process:
                raise
            self.failed.append(title)
            traceback.print_exc()
            return None
        finally:
            _remove_if_empty(Path(hydra.runtime.output_dir), {".hydra", "log.txt"})

    def _call(self, config: Any) -> Any:
        from lmlab.config.explain import unfinished_keys

        if problems := unfinished_keys(config):
            raise UserError("\n".join(problems))
        command: Callable[..., Any] = importlib.import_module(f"lmlab.commands.{self.command}").main
        try:
            return command(config) if self.text is None else command(config, self.text)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS):
                raise
            raise UserError(f"{error.filename or 'a file of the run'} cannot be written: {error.strerror}") from error

    def _compare(self) -> None:
        """After a sweep of trainings: what came of them."""
        if self.sweep is not None and self.command in ("pretrain", "finetune"):
            importlib.import_module("lmlab.commands.compare").compare_sweep(self.sweep)

    def _remove_empty_sweeps(self) -> None:
        """A sweep of which no job wrote anything leaves only the file that Hydra begins it with."""
        for file in Path("outputs", self.command, "sweeps").glob("*/*/multirun.yaml"):
            if file.stat().st_mtime >= self.started - 2:
                _remove_if_empty(file.parent, {"multirun.yaml"})


def _remove_if_empty(folder: Path, names: set[str]) -> None:
    """Remove `folder` when it holds nothing but `names`, and the empty folders above it, up to here."""
    folder, here = folder.resolve(), Path.cwd().resolve()
    if not folder.is_dir() or folder in (here, *here.parents):
        return
    if {each.name for each in folder.iterdir()} - names:
        return
    shutil.rmtree(folder)
    with suppress(OSError):  # not empty: another run lies there
        for parent in folder.parents:
            if parent == here or here not in parent.parents:
                return
            parent.rmdir()


# --- shell completion ---


def _complete(arguments: list[str]) -> int:
    """`lmlab -sc query=<shell>` with the line typed so far in COMP_LINE, or install=/uninstall=<shell>."""
    request, _, shell = arguments[0].partition("=") if arguments else ("", "", "")
    if request not in ("install", "uninstall", "query") or shell not in ("bash", "zsh", "fish"):
        raise UserError("completion is asked for as: lmlab -sc install=bash (or uninstall=; bash, zsh, fish)")
    if request == "query":
        with suppress(Exception):  # never a traceback in the middle of somebody's prompt
            _query(shell, os.environ.get("COMP_LINE", "lmlab "))
        return 0
    if (request, shell) == ("install", "zsh"):  # Hydra's zsh completion is its bash script
        print("autoload -Uz compinit bashcompinit && compinit && bashcompinit")
    return _Jobs("pretrain", None).run(["-sc"], [f"{request}={shell}"], None)


def _query(shell: str, line: str) -> None:
    """Print what may stand at the end of the line: a command name, or what Hydra knows about that command."""
    words = re.sub(r"^\s*\S*python\S*\s+-m\s+", "", line).split()[1:]
    typed = "" if line.endswith(" ") or not words else words.pop()
    if not words:
        names = [name for name in COMMANDS if name.startswith(typed)]
        print(("\n" if shell == "fish" else " ").join(names))
        return
    command = words.pop(0)
    if command not in COMMANDS or not COMMANDS[command].composed:
        return
    from hydra._internal.utils import get_args_parser

    names = _setting_names(command)
    flags, arguments = _split_flags(get_args_parser(), words, keep_unknown=True)
    settings = [each for each in arguments if _is_setting(each, names)]  # the text of fill is none
    sweep = ["-m"] if {"-m", "--multirun"} & set(flags) else []
    os.environ["COMP_LINE"] = " ".join(["lmlab", *sweep, *settings, typed])
    with redirect_stdout(io.StringIO()) as answer:
        _Jobs(command, None).run(["-sc", *_config_dir_of(flags)], [f"query={shell}"], None)
    fitting = [each for each in answer.getvalue().split() if re.match(r"[+~]*(\w*)", each)[1] in names]
    print(("\n" if shell == "fish" else " ").join(fitting))  # without the groups of other commands


def _config_dir_of(flags: list[str]) -> list[str]:
    """The flag `--config-dir` with its value, if it is among the flags."""
    for index, flag in enumerate(flags):
        if flag.split("=")[0] in ("--config-dir", "-cd"):
            return flags[index : index + 1 if "=" in flag else index + 2]
    return []
