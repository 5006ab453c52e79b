"""Files that are never half-written, their hashes, JSON objects, the folder of the cache, and folders of the hub."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lmlab.errors import UserError


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write to a temporary name beside `path`, then rename, so that a reader sees the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def share(path: Path) -> None:
    """Give a file the permissions of any new one: safetensors writes what nobody but its owner can read."""
    beside = path.with_name(f".{path.name}.mode")
    beside.touch()
    path.chmod(beside.stat().st_mode)
    beside.unlink()


def read_json_object(path: Path) -> dict[str, Any]:
    """What a JSON file holds. Raises UserError when it cannot be read, or holds something else than an object."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object")
    return content


def from_hub(name: str, files: list[str], revision: str | None = None) -> tuple[Path | None, str]:
    """The folder of a model of the hub, or None and the reason why it cannot be had.

    Args:
        name: `google-bert/bert-base-uncased`. With `HF_HUB_OFFLINE=1` the local cache only is looked into.
        files: patterns of the files that are fetched.
        revision: branch, tag or commit; None: the main branch.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files)), ""
    except (OSError, ValueError) as error:  # the hub's own errors are among them
        return None, str(error).strip().partition("\n")[0] or type(error).__name__


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """`LMLAB_CACHE`, or the user's cache folder: trained tokenizers, token ids, extracted documentation."""
    if chosen := os.environ.get("LMLAB_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmlab"
