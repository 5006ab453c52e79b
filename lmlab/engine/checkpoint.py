"""Checkpoints that are whole or not there: `step-NNNNNN/{model.safetensors, state.pt, checksums.json}`.

A checkpoint is written under a temporary name, flushed to the disk and then renamed. `last` and `best` are links to one
of them. Reading verifies the checksums, so that a torn checkpoint is noticed and the one before it is taken.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lmlab.errors import UserError
from lmlab.files import share

WEIGHTS, STATE, CHECKSUMS = "model.safetensors", "state.pt", "checksums.json"


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie.
        keep: how many of the newest to keep, besides the best.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = Path(folder), max(1, keep)

    def save(self, step: int, weights: dict[str, Tensor], state: dict[str, Any], best: bool = False) -> Path:
        """Write the checkpoint of `step`, make it `last` (and `best`), and drop those no longer wanted.

        Raises UserError when the disk is full or may not be written; the checkpoints that were there stay.
        """
        final = self.folder / f"step-{step:06d}"
        temporary = self.folder / f".{final.name}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.glob(".step-*.tmp"):
                shutil.rmtree(leftover)
            temporary.mkdir()
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary / WEIGHTS)
            share(temporary / WEIGHTS)
            torch.save(state, temporary / STATE)
            checksums = {name: _checksum(temporary / name) for name in (WEIGHTS, STATE)}
            (temporary / CHECKSUMS).write_text(json.dumps(checksums))
            for file in temporary.iterdir():
                _flush(file)
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
        except (OSError, RuntimeError, SafetensorError) as error:  # each library tells of a full disk in its own way
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(self._cannot_save(step, error)) from error
        self._point("last", final)
        if best:
            self._point("best", final)
        self._drop_old()
        return final

    def steps(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        return sorted(self.folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))

    def load_last_good(
        self, tell: Callable[[str], None], device: torch.device | str = "cpu"
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Weights and state of the newest checkpoint that is whole, or None; `tell` hears of those that are torn."""
        for folder in reversed(self.steps()):
            try:
                verify(folder)
                state = torch.load(folder / STATE, map_location=device, weights_only=True)
                return load_file(folder / WEIGHTS, device=str(device)), state
            except Exception as error:
                tell(f"{folder} is torn ({error}): skipped for the one before it")
        return None

    def mark_best(self, step: int) -> None:
        """Let `best` name the checkpoint of `step`."""
        self._point("best", self.folder / f"step-{step:06d}")

    def _point(self, name: str, target: Path) -> None:
        temporary = self.folder / f".{name}.tmp"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target.name)
        os.replace(temporary, self.folder / name)

    def _drop_old(self) -> None:
        best = (self.folder / "best").resolve() if (self.folder / "best").exists() else None
        for folder in self.steps()[: -self.keep]:
            if folder.resolve() != best:
                shutil.rmtree(folder)

    def _cannot_save(self, step: int, error: Exception) -> str:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else str(error)
        kept = f"the last good one, {self.steps()[-1]}, stays" if self.steps() else "there is none yet"
        return f"the checkpoint of step {step} could not be saved to {self.folder}: {reason}; {kept}"


def verify(folder: Path) -> None:
    """Raise ValueError when a file of the checkpoint in `folder` is missing or not as it was written."""
    try:
        expected = json.loads((folder / CHECKSUMS).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{CHECKSUMS} cannot be read") from error
    for name, checksum in expected.items():
        if not (folder / name).exists():
            raise ValueError(f"{name} is missing")
        if _checksum(folder / name) != checksum:
            raise ValueError(f"{name} is not as it was written")


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
