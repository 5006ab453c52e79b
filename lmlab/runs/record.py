"""One run's folder: plain files that a person, `lmlab compare` and a resumed run can all read.

- config.yaml: the resolved config
- environment.json: versions, git commit, device, command line; one more entry for each resumption
- metrics.jsonl: one object per line, step, tokens, split, loss, ...
- log.txt: what was shown, as plain text
- tokenizer.json
- checkpoints/step-NNNNNN/{model.safetensors, state.pt}
- summary.json: status and final figures; "running" from the first moment, so that a killed run is found
"""

import hashlib
import json
import math
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

import yaml

import lmlab
from lmlab.errors import UserError
from lmlab.files import atomic_write

try:
    import fcntl
except ImportError:  # Windows: no lock, so a run there never counts as alive
    fcntl = None

SUMMARY_KEYS = (
    "command", "status", "seed",
    "model", "objective", "corruption", "corpus", "task", "formulation", "ensemble", "tuning", "init",
    "parameters", "steps", "tokens", "predicted_tokens", "wall_seconds", "train_seconds", "tokens_per_second",
    "metrics", "statistics", "baseline", "best", "search", "config_hash", "data_hash", "tokenizer_hash",
)  # fmt: skip
PACKAGES = (
    "torch", "tokenizers", "datasets", "numpy", "safetensors", "hydra-core", "omegaconf", "scikit-learn",
    "scipy",
)  # fmt: skip

# Settings that say where, how often reported, on what machine and what is measured afterwards, and leave the
# experiment what it is: the same model comes of it.
NOT_THE_EXPERIMENT = {
    "cache_dir", "data_dir", "device", "evaluate_on", "format", "hydra", "learning_rates", "logger", "notes", "resume",
    "seeds", "suite", "then", "trainer.device",
}  # fmt: skip
NOT_THE_EXPERIMENT_PREFIXES = ("trainer.eval_", "trainer.keep_", "trainer.log_", "trainer.save_")

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b\x0c\x0e-\x1f]")
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_claims: dict[Path, object] = {}  # locks that this process holds: closing a second handle would drop them


class RunFolder:
    """The folder of one run. Nothing is kept in memory: every method reads or writes the files.

    Args:
        path: the folder; `start` makes it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and self.path.absolute() == other.path.absolute()

    def __hash__(self) -> int:
        return hash(self.path.absolute())

    # ---- writing

    def start(self, config: dict, command: str, command_line: str | Sequence[str], facts: dict | None = None) -> None:
        """Open the run, or open it again to resume it: config, environment, a summary that says "running".

        Args:
            config: the resolved config, plain Python.
            command: for example "pretrain".
            command_line: what the user typed; a list is quoted for the shell.
            facts: what is known by now. Keys of the summary (seed, model, parameters, data_hash, ...) go
                there, all others (device, threads, precision, ...) to environment.json.

        Raises:
            UserError: another process is writing this run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._claim()
        facts = facts or {}
        line = command_line if isinstance(command_line, str) else shlex.join(command_line)
        named = {key: value for key, value in facts.items() if key in SUMMARY_KEYS}
        session = environment(line) | {key: value for key, value in facts.items() if key not in named}
        first = self.environment()
        record = {**first, "resumed": [*first.get("resumed", []), session]} if first else session
        text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
        atomic_write(self.path / "config.yaml", text)
        atomic_write(self.path / "environment.json", _to_json(record))
        self.summary({"config_hash": config_hash(config), **named, "command": command, "status": "running"})

    def log(self, step: int, tokens: int, split: str, **metrics) -> None:
        """Append one line to metrics.jsonl. NaN and infinity, which JSON has not, become null."""
        line = _line({"step": step, "tokens": tokens, "split": split, **metrics})
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(line)

    def truncate_after(self, step: int) -> None:
        """Drop the metrics later than `step`, and a line torn by a kill: the resumed run writes them anew."""
        if (self.path / "metrics.jsonl").exists():
            kept = [_line(line) for line in self.metrics() if (line.get("step") or 0) <= step]
            atomic_write(self.path / "metrics.jsonl", "".join(kept))

    def summary(self, values: dict) -> None:
        """Write summary.json: `values` over what it held, null for whatever is still unknown.

        `metrics` are the final figures, the main one first; `best` is `{"metric": name, "value": x, "step": n}`;
        `statistics` has of each metric what `lmlab.runs.statistics.over_seeds` says, in the folder of several seeds;
        `baseline` the scores of the best answer that is always the same; `search` is `{"key": "optimizer.lr",
        "metric": name, "on": rows, "tried": {value: score}, "chosen": value}`. A status other than "running" closes
        the run.

        Raises:
            ValueError: a key that the summary does not have.
        """
        if unknown := set(values) - set(SUMMARY_KEYS):
            raise ValueError(f"summary.json has no {', '.join(sorted(unknown))}")
        merged = {**self._readable_summary(), **values}
        atomic_write(self.path / "summary.json", _to_json({key: merged.get(key) for key in SUMMARY_KEYS}))
        if merged.get("status") != "running":
            self.release()

    def write_log(self, text: str) -> None:
        """Append lines to log.txt, each with its time; colours and carriage returns are taken out."""
        stamp = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        lines = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).splitlines()
        with open(self.path / "log.txt", "a", encoding="utf-8") as file:
            file.writelines(f"{stamp}  {line.rstrip()}\n" for line in lines)

    def save_tokenizer(self, tokenizer) -> None:
        """Keep the tokenizer with the run, whole: a run folder needs nothing else to be loaded."""
        tokenizer.save(self.path / "tokenizer.json")

    # ---- reading

    @property
    def name(self) -> str:
        """The folder's own name, from the folder on that begins with a time where there is one close above.

        Job 0 of a sweep is 12-00-00/0, a seed of a task of a suite 12-00-00-bert-glue/sst2/seed-1.
        """
        *_, above, parent, own = ("", "", *self.path.absolute().parts)
        for names in ([own], [parent, own], [above, parent, own]):
            if re.match(r"\d\d-\d\d-\d\d", names[0]):
                return "/".join(names)
        return f"{parent}/{own}" if re.fullmatch(r"(seed-?)?\d+", own) else own

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def has_checkpoint(self, resumable: bool = False) -> bool:
        """Is there a checkpoint: weights, or, when `resumable`, weights with the state of the training."""
        pattern = "*/state.pt" if resumable else "*/model.safetensors"
        return any(not path.parent.name.startswith(".") for path in self.checkpoints.glob(pattern))

    def config(self) -> dict:
        """The resolved config. Raises ValueError when it cannot be read."""
        try:
            config = yaml.load((self.path / "config.yaml").read_text(encoding="utf-8"), Loader=_YAML_LOADER)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"config.yaml: {_reason(error)}") from error
        return config if isinstance(config, dict) else {}

    def read_summary(self) -> dict:
        """summary.json with every key of the contract. Raises ValueError when it cannot be read."""
        try:
            found = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"summary.json: {_reason(error)}") from error
        if not isinstance(found, dict):
            raise ValueError("summary.json: not an object")
        return {key: found.get(key) for key in SUMMARY_KEYS}

    def predictions(self, name: str = "predictions.jsonl") -> list[dict]:
        """The lines of a file of predictions. Raises ValueError when it cannot be read."""
        try:
            with open(self.path / name, encoding="utf-8") as file:
                lines = [json.loads(line) for line in file]
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: {_reason(error)}") from error
        if not all(isinstance(line, dict) and {"id", "prediction", "references"} <= line.keys() for line in lines):
            raise ValueError(f"{name}: a line without id, prediction or references")
        return lines

    def environment(self) -> dict:
        """environment.json, or {} when there is none."""
        try:
            found = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def metrics(self) -> list[dict]:
        """The lines of metrics.jsonl; a line torn by a kill is left out."""
        try:
            text = (self.path / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return [line for line in map(_parse, text.split("\n")) if isinstance(line, dict)]

    def started(self) -> float:
        """When the run was started or last resumed, in seconds since 1970."""
        record = self.environment()
        session = record.get("resumed", [record])[-1]
        try:
            return datetime.fromisoformat(session["started"]).timestamp()
        except (KeyError, TypeError, ValueError):
            return self.path.stat().st_mtime

    def status(self) -> str:
        """finished, interrupted, failed or running; a killed run still says "running" but is interrupted."""
        status = self.read_summary()["status"] or "interrupted"
        return "interrupted" if status == "running" and not self.is_alive() else status

    # ---- one writer at a time: a POSIX lock goes with its process, however that dies; no child inherits it

    def is_alive(self) -> bool:
        """Is a process writing this run now?"""
        lock = (self.path / ".lock").absolute()
        if lock in _claims:
            return True
        if fcntl is None or not os.access(lock, os.R_OK):
            return False
        with open(lock) as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                return True
            except OSError:  # a file system without locks: unknown
                return False
        return False

    def release(self) -> None:
        """Let go of the folder; the end of the process does the same."""
        if file := _claims.pop((self.path / ".lock").absolute(), None):
            file.close()

    def _claim(self) -> None:
        lock = (self.path / ".lock").absolute()
        if fcntl is None or lock in _claims:
            return
        file = open(lock, "w")  # noqa: SIM115  held open for as long as the run is written
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.close()
            message = f"{self.path} is being written by another process: let it end, or stop it first."
            raise UserError(message) from error
        except OSError:  # a file system without locks: better unguarded than not at all
            file.close()
            return
        _claims[lock] = file

    def _readable_summary(self) -> dict:
        try:
            return self.read_summary()
        except ValueError:
            return {}


def config_hash(config: dict) -> str:
    """16 hexadecimal digits that two runs share when they are the same experiment, seed included.

    Folders, notes, device, `then` and the settings of logging, evaluation, saving and resuming do not count.
    """
    kept = {key: value for key, value in flatten(config).items() if defines_experiment(key)}
    text = json.dumps(plain(kept), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def defines_experiment(key: str) -> bool:
    """Does a dotted key of the config say what is done, rather than where or how often it is reported?"""
    steps = key.split(".")
    named = key in NOT_THE_EXPERIMENT or steps[0] in NOT_THE_EXPERIMENT or "_published_" in steps
    return not named and not key.startswith(NOT_THE_EXPERIMENT_PREFIXES)


def flatten(config: dict, prefix: str = "") -> dict[str, object]:
    """Nested dictionaries as one, with dotted keys; an empty one stays as a value."""
    flat: dict[str, object] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, dict) and value else {name: value})
    return flat


def environment(command_line: str) -> dict:
    """What a result may depend on beyond the config: versions, code, machine, and the line that was typed."""
    versions = {"lmlab": lmlab.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    torch = sys.modules.get("torch")  # asked only if the run uses it
    return {
        "started": datetime.now().astimezone().isoformat(),
        "command_line": command_line,
        "folder": os.getcwd(),
        "versions": versions,
        "git": _git_commit(Path(lmlab.__file__).parent),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "device": None,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
    }


def plain(value):
    """`value` as JSON has it: numbers for arrays, lists for tuples, text for paths, null for NaN."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays, and tensors
        return plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _git_commit(folder: Path) -> dict | None:
    """The commit of the code, and whether it was changed since; None when it is not run from a checkout."""

    def git(*words: str) -> str:
        answer = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=5, check=True)
        return answer.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # fails for an installed copy in someone's repository
        changed = bool(git("status", "--porcelain", "-uno", "--", "."))
        return {"commit": git("rev-parse", "HEAD"), "changed": changed}
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_name() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _to_json(value: dict) -> str:
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _line(value: dict) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n"


def _parse(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    return error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
