"""The files of a folder in the Hugging Face format."""

import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lmlab.errors import UserError
from lmlab.files import read_json_object, share

CONFIG = "config.json"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"  # behind the name of a file that lies in several: which tensor is in which
SAFE_PATTERN, PICKLED_PATTERN = "model*.safetensors", "pytorch_model*.bin"
PATTERNS = ["*.json", "*.txt", SAFE_PATTERN]  # to fetch from the hub; pickles only where these bring no weights
GIT_LFS = b"version https://git-lfs"  # how the pointer begins that git puts in the place of a large file
PICKLE_STARTS = (b"PK", b"\x80")  # of a zip file, which torch writes, and of the bare pickle that it wrote before 1.6


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises UserError when it is not there, or no JSON object."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no {CONFIG}: it is no model in the Hugging Face format")
    return read_json_object(path)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder by name, floating-point ones in fp32.

    Raises:
        UserError: there are none, a file is torn or missing, or it wants to run code.
    """
    for name, read in ((SAFE, _read_safe), (PICKLED, _read_pickled)):
        files = _files(folder, name)
        if files:
            _refuse_pointers(files)
            tensors = {key: tensor for file in files for key, tensor in read(file).items()}
            return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    raise UserError(f"{folder} holds no weights: there is neither {SAFE} nor {PICKLED}, in one file or in several")


def refuse_full(folder: Path) -> None:
    """Raise UserError unless the folder is new or empty."""
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"to={folder} is a file; name a new folder")
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"to={folder} is there already, and is not empty; name a new folder")
    except OSError as error:
        raise UserError(f"to={folder} cannot be looked into: {error.strerror}") from error


def write_folder(folder: Path, files: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Write a folder under a temporary name and rename it, so that it is whole or not there.

    One that is there and empty stays, since someone may stand in it: the files are moved into it, config.json last,
    without which it is no model.

    Raises:
        UserError: it is there and not empty, or it cannot be written.
    """
    refuse_full(folder)
    whole = folder.resolve()
    is_there = whole.is_dir()
    temporary = (whole if is_there else whole.parent) / f".{whole.name}.{os.getpid()}.tmp"
    try:
        temporary.mkdir(parents=True)
        _fill(temporary, files, tensors)
        if is_there:
            for name in sorted(os.listdir(temporary), key=CONFIG.__eq__):
                os.replace(temporary / name, whole / name)
        else:
            os.replace(temporary, whole)
    except (OSError, SafetensorError) as error:
        raise UserError(f"to={folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(folder: Path, files: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, folder / SAFE, metadata={"format": "pt"})
    share(folder / SAFE)


def _files(folder: Path, name: str) -> list[Path]:
    """The file of that name, or those that its index lists; none of them may be missing."""
    if (folder / name).is_file():
        return [folder / name]
    index = folder / (name + INDEX)
    if not index.is_file():
        return []
    listed = read_json_object(index).get("weight_map", {})
    if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
        raise UserError(f"{index}: weight_map must say of each tensor, by name, in which file it is")
    files = [folder / file for file in dict.fromkeys(listed.values())]
    if missing := [file.name for file in files if not file.is_file()]:
        raise UserError(f"{index} lists {', '.join(missing)}, which the folder does not hold")
    return files


def _refuse_pointers(files: list[Path]) -> None:
    for path in files:
        if _start(path, len(GIT_LFS)) == GIT_LFS:
            raise UserError(f"{path} is a pointer of git-lfs, not the file itself: fetch that with git lfs pull")


def _start(path: Path, length: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(length)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _read_safe(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} cannot be read: {error}. It may be cut off: fetch it again") from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """Weights alone: what else a pickle may ask for is refused."""
    if not _start(path, 2).startswith(PICKLE_STARTS):
        raise UserError(f"{path} cannot be read: it is no file of torch.save. It may be cut off: fetch it again")
    load: Callable[..., Any] = torch.load
    try:
        content = load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it asks for more than tensors, and loading it could run any code."
            f" Ask its maker for a {SAFE}"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        reason = str(error).rstrip(".") or "it ends too early"
        raise UserError(f"{path} cannot be read: {reason}. It may be cut off: fetch it again") from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(each, Tensor) for each in tensors.values()):
        raise UserError(f"{path} holds no tensors by name")
    return dict(tensors)
