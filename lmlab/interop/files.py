"""The files of a folder in the Hugging Face format."""

import json
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

CONFIG = "config.json"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"  # behind the name of a file that lies in several: which tensor is in which
PATTERNS = ["*.json", "*.txt", "model*.safetensors", "pytorch_model*.bin"]  # to fetch from the hub


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises UserError when it is not there, or no JSON object."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no {CONFIG}: it is no model in the Hugging Face format")
    return _json_object(path)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder by name, floating-point ones in fp32.

    Raises:
        UserError: there are none, a file is torn or missing, or it wants to run code.
    """
    for name, read in ((SAFE, _read_safe), (PICKLED, _read_pickled)):
        files = _files(folder, name)
        if files:
            tensors = {key: tensor for file in files for key, tensor in read(file).items()}
            return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    raise UserError(f"{folder} holds no weights: there is neither {SAFE} nor {PICKLED}, in one file or in several")


def refuse_full(folder: Path) -> None:
    """Raise UserError unless the folder is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"to={folder} is there already, and is not empty; name a new folder")


def write_folder(folder: Path, files: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Write a folder under a temporary name and rename it, so that it is whole or not there.

    Raises UserError when it is there and not empty.
    """
    refuse_full(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        for name, content in files.items():
            (temporary / name).write_text(content, "utf-8")
        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(own, temporary / SAFE, metadata={"format": "pt"})
        os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _files(folder: Path, name: str) -> list[Path]:
    """The file of that name, or those that its index lists; none of them may be missing."""
    if (folder / name).is_file():
        return [folder / name]
    index = folder / (name + INDEX)
    if not index.is_file():
        return []
    listed = _json_object(index).get("weight_map", {})
    files = [folder / file for file in dict.fromkeys(listed.values())]
    if missing := [file.name for file in files if not file.is_file()]:
        raise UserError(f"{index} lists {', '.join(missing)}, which the folder does not hold")
    return files


def _read_safe(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} cannot be read: {error}. It may be cut off: fetch it again") from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """Weights alone: what else a pickle may ask for is refused."""
    load: Callable[..., Any] = torch.load
    try:
        content = load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it asks for more than tensors, and loading it could run any code."
            f" Ask its maker for a {SAFE}"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}. It may be cut off: fetch it again") from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(each, Tensor) for each in tensors.values()):
        raise UserError(f"{path} holds no tensors by name")
    return dict(tensors)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object")
    return content
