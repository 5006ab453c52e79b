"""The one place where a data set is looked for: a local folder first, then the hub's cache, then the hub.

A local data set is a folder `<data_dir>/<name>/` with one file per split, named `<split>` and one of
`SUFFIXES`, with the hub's column names. Everything is read row by row, so memory stays flat whatever the size
of the data.
"""

import codecs
import csv
import gzip
import json
import os
import re
import socket
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lmlab.errors import UserError, nearest

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".txt", ".txt.gz")
TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")  # of files that are named one by one

# What data sets call the split that we call by the key.
OTHER_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval"),
}

PASSAGE = 4_000_000  # characters; a longer text is read in pieces of about this size


def find(
    name: str,
    split: str = "train",
    data_dir: str | Path | None = None,
    hub: str | Mapping[str, Any] | None = None,
    fields: Collection[str] = (),
    streaming: bool = False,
) -> Iterator[dict[str, Any]]:
    """Return the rows of one split, read as they are asked for. Whether the data is there is checked at once.

    Args:
        name: the data set's folder in `data_dir`.
        split: "train", "validation", "test", or any other name that the data set uses for a part of it.
        data_dir: folder of the local data sets, or None.
        hub: the data set's name on the hub, or a mapping with `path` and, where needed, `config` ("*": all, one
            after the other), `revision` and `splits` (our name -> the hub's); None when the hub does not have it.
        fields: columns that each row must have.
        streaming: read from the hub while it downloads, instead of storing the data set first.

    Raises:
        UserError: the data is nowhere (the message says what to put where), or, while reading, a row is
            broken or lacks a field, or a file is not UTF-8.
    """
    if path := locate(name, split, data_dir):
        return read(path, fields)
    if hub is None:
        raise UserError(_missing(name, split, data_dir, None, fields))
    return hub_rows(name, split, data_dir, hub, fields, streaming)


# --- local files ----------------------------------------------------------------------------------------


def locate(name: str, split: str, data_dir: str | Path | None) -> Path | None:
    """Return the file of a split of a local data set, or None."""
    if not data_dir or not name:
        return None
    if not Path(data_dir).is_dir():
        raise UserError(f"data_dir (LMLAB_DATA) names the folder '{data_dir}', which does not exist")
    for other in OTHER_NAMES.get(split, (split,)):
        for suffix in SUFFIXES:
            path = Path(data_dir, name, other + suffix)
            if path.is_file():
                return path
    return None


def local_splits(name: str, data_dir: str | Path | None) -> list[str]:
    """Return the names of the splits that the local folder of a data set has."""
    folder = Path(data_dir, name) if data_dir and name else None
    if folder is None or not folder.is_dir():
        return []
    return sorted({split for path in folder.iterdir() if (split := split_name(path))})


def split_name(path: Path) -> str | None:
    """Return a file's name without its suffix, or None when it is no data file."""
    suffix = max((s for s in SUFFIXES if path.name.endswith(s)), key=len, default=None)
    return path.name.removesuffix(suffix) if suffix and not path.name.startswith(".") else None


def read_named(path: str | Path, key: str) -> Iterator[dict[str, Any]]:
    """Return the rows of a file that the user names with `key`; see `read`.

    Raises:
        UserError: there is no such file, or its suffix is unknown.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES + TABLES):
        raise UserError(f"{key}={path}: the suffix must be one of {', '.join(TABLES + SUFFIXES)}")
    if not path.is_file():
        there = [other.name for other in islice(path.parent.iterdir(), 10_000)] if path.parent.is_dir() else None
        hint = f"no such folder as {path.parent}" if there is None else f"no such file{nearest(path.name, there)}"
        raise UserError(f"{key}={path}: {hint}")
    return read(path)


def read(path: str | Path, fields: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Return the rows of one file; plain text has a row `{"text": line}` per line, empty ones too."""
    path = Path(path)
    if path.name.endswith(TABLES):
        return _read_table(path, fields)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _read_jsonl(path, fields)
    if path.suffix == ".parquet":
        return _read_parquet(path, fields)
    check_fields({"text": ""}, fields, f"{path}")
    return ({"text": line} for line in read_lines(path))


def _read_jsonl(path: Path, fields: Collection[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: broken JSON ({error}); each line must hold one JSON object"
            ) from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: a {type(row).__name__} where a JSON object is wanted")
        check_fields(row, fields, f"{path}, line {number}")
        yield row


def _read_table(path: Path, fields: Collection[str]) -> Iterator[dict[str, Any]]:
    """Rows of a file whose first line names the columns; `,`, `;` or a tab between them, `"` around values.

    Blank lines are no rows.
    """
    header = next((line for line in read_lines(path) if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", header)
    delimiter = "\t" if ".tsv" in path.suffixes else max(",;\t", key=bare.count)
    csv.field_size_limit(2**31 - 1)  # the module's own limit is shorter than long documents
    reader = csv.reader((line + "\n" for line in read_lines(path)), delimiter=delimiter, strict=True)
    records = (values for values in reader if values and not (len(values) == 1 and values[0].isspace()))
    try:
        columns = next(records, [])
        check_different(columns, f"{path}")
        check_fields(columns, fields, f"{path}")
        for values in records:
            if len(values) != len(columns):
                found = f"{len(values)} values for {len(columns)} columns"
                wish = f"a value with {delimiter!r} in it must stand in quotes"
                raise UserError(f"{path}, line {reader.line_num}: {found}; {wish}")
            yield dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: broken table ({error})") from error


def _read_parquet(path: Path, fields: Collection[str]) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_different(file.schema_arrow.names, f"{path}")
            check_fields(file.schema_arrow.names, fields, f"{path}")
            for batch in file.iter_batches(batch_size=1000):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error})") from error


def check_fields(row: Collection[str], fields: Iterable[str], where: str) -> None:
    """Raise UserError when a row, or a list of columns, lacks one of `fields`; `where` names it."""
    for field in fields:
        if field not in row:
            raise UserError(f"{where}: no field '{field}'; there are: {', '.join(row)}{nearest(field, row)}")


def check_different(columns: list[str], where: str) -> None:
    """Raise UserError when two columns bear one name, of which a row would hold the last one only."""
    if twice := next((name for name in columns if name and columns.count(name) > 1), None):
        raise UserError(f"{where}: two columns are called '{twice}'; give each its own name")


def read_lines(path: str | Path) -> Iterator[str]:
    """Yield the lines of a text file, without their line breaks."""
    rest = ""
    for text in _decoded(Path(path)):
        *lines, rest = (rest + text).split("\n")
        yield from lines
    if rest:
        yield rest


def read_passages(path: str | Path, limit: int = PASSAGE) -> Iterator[str]:
    """Yield a text file as it is, in passages of at most `limit` characters where it is longer.

    A passage ends at a line end; where a single line is longer than `limit`, at a space, or anywhere.
    """
    return cut_passages(_decoded(Path(path)), limit)


def cut_passages(pieces: Iterable[str], limit: int = PASSAGE) -> Iterator[str]:
    """Join pieces of one text and yield it in passages of at most `limit` characters, cut at line ends."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size <= limit:
            continue
        text = "".join(held)
        while len(text) > limit:
            cut = text.rfind("\n", 0, limit) + 1 or text.rfind(" ", 0, limit) + 1 or limit
            yield text[:cut]
            text = text[cut:]
        held, size = [text], len(text)
    if size:
        yield "".join(held)


def _decoded(path: Path) -> Iterator[str]:
    """Yield a file's text by the megabyte; `\\r\\n` becomes `\\n`, a byte order mark is dropped."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, held = 0, ""  # bytes decoded so far; a last "\r" whose "\n" may be still to come
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            while True:
                data = file.read(1 << 20)
                pending = len(decoder.getstate()[0])
                text = held + decoder.decode(data, final=not data)
                text = text.removeprefix("\ufeff") if offset == 0 else text
                held = "\r" if text.endswith("\r") and data else ""
                yield text.removesuffix(held).replace("\r\n", "\n")
                offset += len(data)
                if not data:
                    return
    except UnicodeDecodeError as error:
        at = offset - pending + error.start
        byte = f"0x{error.object[error.start]:02x}"
        raise UserError(
            f"{path}: not UTF-8 at byte {at} ({byte}); convert it, for example with iconv -t UTF-8"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: broken or incomplete gzip file ({error}); copy or download it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


# --- the hub --------------------------------------------------------------------------------------------


def offline() -> str | None:
    """Return why the hub is out of reach, or None. Opens no socket when HF_HUB_OFFLINE is set."""
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"{variable}={os.environ[variable]}"
    return None if _hub_resolves() else "no network"


@lru_cache(maxsize=1)
def _hub_resolves() -> bool:
    """Ask once for the hub's address: a machine without network is told so at once, not after retries."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    from huggingface_hub.constants import ENDPOINT

    try:
        return bool(socket.getaddrinfo(urlsplit(ENDPOINT).hostname, 443))
    except OSError:
        return False


def hub_rows(
    name: str,
    split: str,
    data_dir: str | Path | None,
    hub: str | Mapping[str, Any],
    fields: Collection[str] = (),
    streaming: bool = False,
) -> Iterator[dict[str, Any]]:
    """Return the rows of a split of a hub data set (see `find`)."""
    path, config, revision, names = hub_address(hub)
    try:
        splits = open_hub(path, config, revision, streaming)
    except UserError as error:
        raise UserError(_missing(name, split, data_dir, path, fields, str(error))) from error
    wanted = [names[split]] if split in names else list(OTHER_NAMES.get(split, (split,)))
    there = next((other for other in wanted if other in splits), None)
    if there is None:
        known = ", ".join(splits)
        raise UserError(f"'{path}' on the hub has no split '{wanted[0]}'; there are: {known}{nearest(split, splits)}")
    return dataset_rows(splits[there], f"'{path}' on the hub, split '{there}'", fields)


def dataset_rows(dataset: Any, where: str, fields: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the rows of one split of a hub data set; `where` names it in messages."""
    if dataset.column_names:
        check_fields(dataset.column_names, fields, where)
    batches = dataset.iter(batch_size=1000)
    while True:
        try:
            batch = next(batches, None)
        except OSError as error:  # the network went away while streaming
            raise UserError(f"{where}: reading broke off ({error}); try again") from error
        if batch is None:
            return
        columns = list(batch)
        check_fields(columns, fields, where)
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def hub_address(hub: str | Mapping[str, Any]) -> tuple[str, str | None, str | None, dict[str, str]]:
    """Return (path, config, revision, {our split name: the hub's}) of a `hub` setting."""
    if isinstance(hub, str):
        return hub, None, None, {}
    unknown = set(hub) - {"path", "config", "revision", "splits"}
    if unknown or "path" not in hub:
        raise UserError(f"hub: {dict(hub)} must be a name or have the keys path, config, revision, splits")
    return hub["path"], hub.get("config"), hub.get("revision"), dict(hub.get("splits") or {})


@lru_cache(maxsize=8)
def open_hub(path: str, config: str | None, revision: str | None, streaming: bool = False) -> Any:
    """Return the hub's data set, {split: data set}; from the cache of `datasets` where it is stored already.

    With the config "*" a split holds the rows of all configs, one after the other.

    Raises:
        UserError: it cannot be reached, does not exist, or has no such config.
    """
    reason = None if Path(path).exists() else offline()
    import datasets

    if reason:
        _stay_offline()
    try:
        if config != "*":
            return datasets.load_dataset(path, config, revision=revision, streaming=streaming)
        names = datasets.get_dataset_config_names(path, revision=revision)
        parts = [datasets.load_dataset(path, name, revision=revision, streaming=streaming) for name in names]
        return {split: datasets.concatenate_datasets([part[split] for part in parts]) for split in parts[0]}
    except Exception as error:  # every library below has its own errors; all mean that the data cannot be had
        detail = " ".join(str(error).split())[:300]
        raise UserError(reason or f"{type(error).__name__}: {detail}") from error


def _stay_offline() -> None:
    """Tell the hub's libraries that there is no network: otherwise they try five times, for half a minute."""
    for module in ("huggingface_hub.constants", "datasets.config"):
        sys.modules[module].HF_HUB_OFFLINE = True


def _missing(
    name: str,
    split: str,
    data_dir: str | Path | None,
    hub: str | None,
    fields: Collection[str],
    reason: str | None = None,
) -> str:
    """The message for data that is nowhere: what to put where."""
    columns = f" with the columns {', '.join(fields)}" if fields else ""
    file = f"{data_dir or '<LMLAB_DATA>'}/{name}/{split}.jsonl.gz"
    message = f"data set '{name}', split '{split}', not found: put it at {file}{columns}"
    message += " (or .jsonl, .parquet, .txt)"
    if not data_dir:
        message += ", with LMLAB_DATA (or data_dir=) naming the folder"
    elif there := local_splits(name, data_dir):
        message += f"; the folder has only: {', '.join(there)}"
    elif Path(data_dir).is_dir():
        message += nearest(name, [path.name for path in islice(Path(data_dir).iterdir(), 10_000) if path.is_dir()])
    if hub:
        message += f". The hub's '{hub}' is not in the cache and cannot be fetched ({reason})"
        message += f"; on a machine with network: lmlab data get {name} to=FOLDER"
    return message
