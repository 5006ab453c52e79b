"""Files that are never half-written, their hashes, and the folder of the cache."""

import hashlib
import os
from pathlib import Path


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


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """`LMLAB_CACHE`, or the user's cache folder: trained tokenizers, token ids, extracted documentation."""
    if chosen := os.environ.get("LMLAB_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmlab"
