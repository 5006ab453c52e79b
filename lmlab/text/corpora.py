"""Corpora: where documents come from, and which of them are held out for validation.

A document is a string; its paragraphs are separated by "\\n". One made of fields (title, author, text) knows these
besides. Documents are read one at a time, in the same order each time, so memory stays flat whatever the size of the
corpus.
"""

import glob
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from lmlab.errors import UserError, nearest
from lmlab.files import atomic_write, hash_file
from lmlab.text import sources

# With fewer documents than this, whole documents are too coarse a measure to hold out a fraction.
FEW_DOCUMENTS = 20


class FieldText(str):
    """A document made of fields. As a string: the fields that hold text, a paragraph each.

    Attributes:
        fields: their texts without white space around them, "" where there is none.
    """

    fields: tuple[str, ...]

    def __new__(cls, fields: Iterable[str]) -> "FieldText":
        fields = tuple(field.strip() for field in fields)
        document = super().__new__(cls, "\n".join(filter(None, fields)))
        document.fields = fields
        return document


class Corpus:
    """Documents for pre-training, in a train and a validation part.

    Where the source has its own validation split, that is used. Otherwise the hash of a document's text
    decides, so that the part of a document never depends on the others; with fewer than 20 documents, the end
    of every document is held out.

    A subclass says where the documents are: `source`, `has_split`, `content` and `__str__`.

    Args:
        validation_fraction: share that is held out where the source has no validation split.
        max_documents: use only so many of the first documents of each split of the source; None uses all.
        data_dir: folder of the local data sets (`LMLAB_DATA`), or None.
        cache_dir: folder for what is worth keeping between runs, or None.
    """

    def __init__(
        self,
        validation_fraction: float = 0.05,
        max_documents: int | None = None,
        data_dir: str | Path | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        if not 0 < validation_fraction < 1:
            raise UserError(
                f"corpus.validation_fraction={validation_fraction} must lie between 0 and 1, for example 0.05"
            )
        if max_documents is not None and max_documents < 1:
            raise UserError(f"corpus.max_documents={max_documents} must be at least 1, or null for all")
        self.validation_fraction, self.max_documents = validation_fraction, max_documents
        self.data_dir = Path(data_dir) if data_dir else None
        self.cache_dir = Path(cache_dir) if cache_dir else None
        self._division: tuple[str, bytes | None] | None = None

    # --- what a subclass says

    def source(self, split: str) -> Iterator[str]:
        """Yield the documents of a split of the source, "train" or (where `has_split`) "validation"."""
        raise NotImplementedError

    def has_split(self, split: str) -> bool:
        """Say whether the source has a validation split of its own."""
        return False

    def content(self) -> list[Any]:
        """Return what identifies the text: hashes of the files, or the version of a remote data set."""
        raise NotImplementedError

    # --- what users of a corpus call

    def documents(self, split: str) -> Iterator[str]:
        """Yield the documents of "train" or "validation".

        Raises:
            UserError: the data is missing or broken, the corpus is empty, or it is too small to hold anything
                out.
        """
        if split not in ("train", "validation"):
            raise UserError(f"a corpus has the splits train and validation, not '{split}'")
        is_divided = not self.has_split("validation")
        documents = self._divided(split) if is_divided else self._filled(split)
        first = next(documents, None)
        if first is None:
            raise UserError(
                f"{self}: too little text to hold out a validation part; give more text or a validation split"
                if is_divided
                else f"{self}: the {split} split has no text"
            )
        yield first
        yield from documents

    def fingerprint(self) -> str:
        """Return a hash of the text and of all that decides about documents and splits; cheap when warm."""
        settings = {k: v for k, v in vars(self).items() if not k.startswith("_") and k not in self.irrelevant}
        parts = [type(self).__qualname__, settings, self.content()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    # Attributes that do not change the text by themselves: where it lies is no part of what it says.
    irrelevant = ("data_dir", "cache_dir", "path", "validation_path", "name", "streaming")

    # --- the division into train and validation

    def _filled(self, split: str) -> Iterator[str]:
        """The documents of a split of the source that have any text, at most `max_documents`."""
        return islice((text for text in self.source(split) if text and not text.isspace()), self.max_documents)

    def _divided(self, split: str) -> Iterator[str]:
        """The part of the source's documents that belongs to `split`."""
        kind, exception = self._division = self._division or self._find_division()
        for text in self._filled("train"):
            if kind == "ends":
                train, validation = _cut(text, self.validation_fraction)
                part = train if split == "train" else validation
                if part:
                    yield part
                continue
            held_out = (self._is_held_out(digest := _digest(text))) != (digest == exception)
            if held_out == (split == "validation"):
                yield text

    def _find_division(self) -> tuple[str, bytes | None]:
        """Decide how to divide: ("ends", None), or ("documents", a document that goes to the other part, or
        None).

        Reads only as far as needed: mostly a few dozen documents.
        """
        digests: list[bytes] = []
        parts = set()
        for text in self._filled("train"):
            digests.append(_digest(text))
            parts.add(self._is_held_out(digests[-1]))
            if len(digests) >= FEW_DOCUMENTS and len(parts) == 2:
                return "documents", None
        if not digests:
            raise UserError(f"{self}: no text in it; the corpus is empty")
        if len(digests) < FEW_DOCUMENTS or len(set(digests)) == 1:
            return "ends", None
        # Chance put all on one side: the one nearest to the border crosses it.
        return "documents", max(digests) if parts == {True} else min(digests)

    def _is_held_out(self, digest: bytes) -> bool:
        return int.from_bytes(digest, "big") < self.validation_fraction * 2**64

    def _hash(self, path: Path) -> str:
        return content_hash(path, self.cache_dir)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _cut(text: str, fraction: float) -> tuple[str, str]:
    """Cut the last `fraction` off a text, at a line end near there, else at a space, else anywhere.

    Of a document made of fields the last one is cut, and both parts have all others; without a last one to cut, all of
    it is for training.
    """
    if isinstance(text, FieldText):
        *others, last = text.fields
        if len(last) < 2:
            return text, ""
        train, validation = (FieldText([*others, part]) for part in _cut(last, fraction))
        return train, validation
    wanted = min(max(int(len(text) * (1 - fraction)), 1), len(text) - 1)
    rest, cut = len(text) - wanted, wanted
    for mark in ("\n", " "):
        places = (text.rfind(mark, 0, wanted) + 1, text.find(mark, wanted) + 1)
        near = [p for p in places if p and rest <= 2 * (len(text) - p) <= 4 * rest and text[p:].strip()]
        if near:
            cut = min(near, key=lambda place: abs(place - wanted))
            break
    train, validation = text[:cut], text[cut:]
    return train if train.strip() else "", validation if validation.strip() else ""


def content_hash(path: Path, cache_dir: Path | None) -> str:
    """Return the SHA-256 of a file, kept in `cache_dir` under the file's path, size and time of change."""
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    if cache_dir is None:
        return hash_file(path)
    note = cache_dir / "file-hashes" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if note.is_file() and len(known := note.read_text()) == 64:
        return known
    atomic_write(note, content := hash_file(path))
    return content


# --- plain text -----------------------------------------------------------------------------------------


class Text(Corpus):
    """Text files.

    Args:
        path: a file, a folder (its .txt, .txt.gz and .md files, at any depth), a pattern with `*`, or a list
            of these.
        validation_path: the same for validation; None holds a part of `path` out.
        document: what one document is: "file" (a file of more than 4 million characters is read in passages,
            cut at line ends), "line", or "blank_line" (documents are separated by blank lines).
        corpus: the arguments of `Corpus`.
    """

    def __init__(
        self,
        path: str | list[str],
        validation_path: str | list[str] | None = None,
        document: str = "file",
        **corpus: Any,
    ) -> None:
        super().__init__(**corpus)
        kinds = ("file", "line", "blank_line")
        if document not in kinds:
            raise UserError(f"corpus.document={document} must be one of {', '.join(kinds)}{nearest(document, kinds)}")
        self.path, self.validation_path, self.document = path, validation_path, document

    def __str__(self) -> str:
        return f"corpus text ({self.path})"

    def has_split(self, split: str) -> bool:
        return split == "train" or bool(self.validation_path)

    def files(self, split: str) -> list[Path]:
        """Return the files of a split, in the order of their names."""
        paths = self.path if split == "train" else self.validation_path
        return [file for path in ([paths] if isinstance(paths, str | Path) else paths) for file in _expanded(str(path))]

    def source(self, split: str) -> Iterator[str]:
        for path in self.files(split):
            if self.document == "file":
                yield from sources.read_passages(path)
            elif self.document == "line":
                yield from sources.read_lines(path)
            else:
                yield from _between_blank_lines(sources.read_lines(path))

    def content(self) -> list[Any]:
        splits = [split for split in ("train", "validation") if self.has_split(split)]
        return [[self._hash(path) for path in self.files(split)] for split in splits]


def _expanded(path: str) -> list[Path]:
    """The files that a path, folder or pattern names."""
    place = Path(path).expanduser()
    if place.is_dir():
        found = [p for p in place.rglob("*") if p.name.endswith((".txt", ".txt.gz", ".md")) and p.is_file()]
        if not found:
            others = sorted({p.suffix for p in place.rglob("*") if p.is_file()})
            hint = f" (there are {', '.join(others)} files)" if others else ""
            raise UserError(f"corpus.path={path}: no .txt, .txt.gz or .md file in this folder{hint}; see corpus=local")
        return sorted(found)
    if place.is_file():
        if place.name.endswith((".jsonl", ".jsonl.gz", ".parquet")):
            raise UserError(
                f"corpus.path={path} holds rows, not plain text; use corpus=local with corpus.field=<column>"
            )
        return [place]
    if found := sorted(p for name in glob.glob(str(place), recursive=True) if (p := Path(name)).is_file()):
        return found
    siblings = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
    raise UserError(f"corpus.path={path}: no such file or folder{nearest(place.name, siblings)}")


def _between_blank_lines(lines: Iterator[str]) -> Iterator[str]:
    document: list[str] = []
    for line in lines:
        if line.strip():
            document.append(line)
        elif document:
            yield "\n".join(document)
            document = []
    if document:
        yield "\n".join(document)


# --- rows: folders of files, and hub data sets ----------------------------------------------------------


class Rows(Corpus):
    """Documents from rows with columns.

    Args:
        field: the column that holds the text.
        fields: instead of it, the columns that make a document of fields, the one with the long text last.
            An objective over fields tells them apart; any other reads them as paragraphs of one text. None: `field`.
        corpus: the arguments of `Corpus`.
    """

    def __init__(self, field: str = "text", fields: list[str] | None = None, **corpus: Any) -> None:
        super().__init__(**corpus)
        if fields is not None and (len(fields) < 2 or len(set(fields)) < len(fields)):
            raise UserError(
                f"corpus.fields=[{','.join(fields)}] must name two columns or more, each once, the one with the long"
                " text last, such as [title,author,text]; for a single column there is corpus.field"
            )
        self.field, self.fields = field, fields

    @property
    def columns(self) -> list[str]:
        """The columns that each row must have."""
        return self.fields or [self.field]

    def texts(self, rows: Iterable[dict], where: str) -> Iterator[str]:
        """Yield the document of each row; `where` names the rows in messages."""
        for number, row in enumerate(rows, start=1):
            cells = [_text(row[column], f"{where}, row {number}: field '{column}'") for column in self.columns]
            if self.fields:
                yield FieldText(cell or "" for cell in cells)
            elif cells[0] is not None:
                yield cells[0]


def _text(cell: Any, where: str) -> str | None:
    """The text of a cell; many data sets have empty ones."""
    if cell is None or isinstance(cell, str):
        return cell
    raise UserError(f"{where} holds {type(cell).__name__} {cell!r:.60}, not text")


class Local(Rows):
    """Rows of files of your own: jsonl, parquet or plain text, one document per row (per file for plain
    text).

    Args:
        path: a file, or a folder. In a folder, files named train* and validation* (valid*, val*, dev*) are
            those splits; where no file is named so, all files are taken and a part is held out.
        rows: the arguments of `Rows`.
    """

    def __init__(self, path: str, **rows: Any) -> None:
        super().__init__(**rows)
        self.path = path

    def __str__(self) -> str:
        return f"corpus local ({self.path})"

    def has_split(self, split: str) -> bool:
        return split in self._splits()

    def source(self, split: str) -> Iterator[str]:
        for path in self._splits()[split]:
            if _is_plain(path) and not self.fields:
                yield from sources.read_passages(path)
            else:
                yield from self.texts(sources.read(path, self.columns), str(path))

    def content(self) -> list[Any]:
        return [[split, [self._hash(path) for path in paths]] for split, paths in sorted(self._splits().items())]

    def _splits(self) -> dict[str, list[Path]]:
        place = Path(self.path).expanduser()
        if not place.exists():
            siblings = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
            raise UserError(f"corpus.path={self.path}: no such file or folder{nearest(place.name, siblings)}")
        files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
        files = [path for path in files if sources.split_name(path)]
        if not files:
            raise UserError(f"corpus.path={self.path}: no data there; wanted are {', '.join(sources.SUFFIXES)} files")
        splits: dict[str, list[Path]] = {}
        for path in files if place.is_dir() else []:
            word = re.split(r"[-_.]", sources.split_name(path) or "")[0].lower()
            for split, names in sources.OTHER_NAMES.items():
                if word in names:
                    splits.setdefault(split, []).append(path)
        if splits and "train" not in splits:
            raise UserError(f"corpus.path={self.path}: there are {', '.join(sorted(splits))} files but no train file")
        return splits or {"train": files}


class Hub(Rows):
    """Any data set of the hub, or a local copy of it.

    It is looked for in `<data_dir>/<name>/`, then in the hub's cache, then at the hub. Where `path` is a file
    on this machine, that file is read and nothing else is looked for.

    Args:
        name: the data set's folder in `data_dir`; None for none.
        path: its name on the hub (owner/name), a file, or None.
        config: which of the hub data set's configurations.
        revision: a commit, tag or branch of the hub data set, so that the text stays the same.
        document: "row" (each row is one document) or "all" (all rows are one text, its line breaks kept).
        heading: pattern of a row that begins a new document, where rows are single lines (WikiText); None for
            none.
        rows_per_document: how many rows are joined to one document.
        streaming: read while it downloads, instead of storing the data set first. The text is then known by
            its name and revision only.
        rows: the arguments of `Rows`.
    """

    def __init__(
        self,
        name: str | None = None,
        path: str | None = None,
        config: str | None = None,
        revision: str | None = None,
        document: str = "row",
        heading: str | None = None,
        rows_per_document: int = 1,
        streaming: bool = False,
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        if name is None and path is None:
            raise UserError(
                "corpus=hub needs corpus.path=<owner/name on the hub>, or corpus.name=<folder in LMLAB_DATA>"
            )
        if document not in ("row", "all"):
            raise UserError(f"corpus.document={document} must be row or all")
        if rows_per_document < 1:
            raise UserError(f"corpus.rows_per_document={rows_per_document} must be at least 1")
        if self.fields and (document == "all" or heading or rows_per_document > 1):
            raise UserError(
                "corpus.fields makes a document of each row, but corpus.document, corpus.heading or"
                " corpus.rows_per_document join rows: leave one of the two out"
            )
        self.name, self.path, self.config, self.revision = name, path, config, revision
        self.document, self.heading = document, heading
        self.rows_per_document, self.streaming = rows_per_document, streaming
        self._file = Path(path).expanduser() if path and Path(path).expanduser().is_file() else None
        if path and not self._file and path.endswith(sources.SUFFIXES):
            raise UserError(f"corpus.path={path}: no such file")

    def __str__(self) -> str:
        return f"corpus {self.name or self.path}" if not self._file else f"corpus {self._file}"

    def has_split(self, split: str) -> bool:
        if self._file or split == "train":
            return split == "train"
        if self._local("train") or not self.path:
            return self._local(split) is not None
        return bool(self._local(split)) or any(name in self._at_hub() for name in sources.OTHER_NAMES[split])

    def source(self, split: str) -> Iterator[str]:
        path = self._file or self._local(split)
        if self.document == "all":
            return sources.read_passages(path) if _is_plain(path) else sources.cut_passages(self._lines(split))
        if self._file and _is_plain(path) and not self.fields:
            return sources.read_passages(path)
        if self.heading:
            return _under_headings(self._texts(split), re.compile(self.heading))
        if self.rows_per_document > 1:
            return _joined(self._texts(split), self.rows_per_document)
        return self._texts(split)

    def content(self) -> list[Any]:
        if self._file:
            return [self._hash(self._file)]
        found = {split: self._local(split) for split in ("train", "validation")}
        content = [[split, self._hash(path)] for split, path in found.items() if path]
        if not found["train"]:
            content.append([self.path, "streamed" if self.streaming else _stored_versions(self._at_hub())])
        return content

    def _local(self, split: str) -> Path | None:
        return sources.locate(self.name, split, self.data_dir) if self.name else None

    def _at_hub(self) -> Any:
        if not self.path:  # find() says what to put where
            sources.find(self.name or "", "train", self.data_dir, None, self.columns)
        try:
            return sources.open_hub(self.path, self.config, self.revision, self.streaming)
        except UserError:
            self._texts("train")
            raise

    def _texts(self, split: str) -> Iterator[str]:
        if self._file:
            return self.texts(sources.read(self._file, self.columns), str(self._file))
        hub = {"path": self.path, "config": self.config, "revision": self.revision} if self.path else None
        name = self.name or str(self.path).rsplit("/", 1)[-1]
        rows = sources.find(name, split, self.data_dir, hub, self.columns, self.streaming)
        return self.texts(rows, f"{self}, {split}")

    def _lines(self, split: str) -> Iterator[str]:
        return (text if text.endswith("\n") else text + "\n" for text in self._texts(split))


def _is_plain(path: Path | None) -> bool:
    """Whether a file is plain text, also one with an unknown suffix, and not rows."""
    return path is not None and not path.name.endswith((".jsonl", ".jsonl.gz", ".parquet"))


def _joined(texts: Iterator[str], count: int) -> Iterator[str]:
    while group := list(islice(texts, count)):
        yield "\n".join(text.strip("\n") for text in group)


def _under_headings(texts: Iterator[str], heading: re.Pattern) -> Iterator[str]:
    """Join rows of single lines to documents that begin with a heading; a row of several lines is one."""
    document: list[str] = []
    for text in texts:
        line = text.strip()
        if document and ("\n" in line or heading.search(line)):
            yield "\n".join(document)
            document = []
        if "\n" in line:
            yield line
        elif line:
            document.append(line)
    if document:
        yield "\n".join(document)


def _stored_versions(splits: Any) -> list[str]:
    """What names the stored files of a hub data set: configuration, version and the hash of its content."""
    files = [Path(file["filename"]) for split in splits.values() for file in split.cache_files]
    return sorted("/".join(file.parts[-4:]) for file in files) or sorted(s._fingerprint for s in splits.values())
