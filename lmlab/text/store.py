"""The token ids of a corpus as files that are mapped into memory, so that memory never grows with it."""

import glob
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np

from lmlab.errors import UserError
from lmlab.files import atomic_write
from lmlab.files import cache_dir as default_cache_dir
from lmlab.text.sentences import sentence_spans, split_sentences
from lmlab.text.tokenizer import Encoded, Tokenizer
from lmlab.text.words import split_long

FORMAT = 1  # raise it when the files change, so that older ones are built anew
BATCH_CHARACTERS = 1_000_000  # text that is tokenised at a time
LONGEST_PART = 250_000  # longer documents are cut at line ends, so that all threads share them
WORD_START, SENTENCE_START = 1, 2  # flags of `TokenStore.marks`
Report = Callable[[int, int], None]


class Corpus(Protocol):
    """What a store needs of a corpus; for pieces that are fields, each document knows its `fields`."""

    def documents(self, split: str) -> Iterable[str]: ...

    def fingerprint(self) -> str: ...


class TokenStore:
    """Token ids of one split of a corpus, cut into pieces of documents: the whole, sentences or fields.

    Attributes:
        ids: (tokens,) uint16, or uint32 where the vocabulary is larger; mapped from the file.
        piece_ends: (pieces,) int64, where in `ids` each piece ends.
        document_ends: (documents,) int64, where in `piece_ends` each document ends.
        marks: (tokens,) uint8, the flags WORD_START and SENTENCE_START; None if the store was built without.
        pieces: "document" (each is one piece, with the end-of-text token after it), "sentence" (without) or "field"
            (with; all documents have as many, and one without text is an empty piece).
        num_bytes: length of the text in UTF-8.
        unknown_tokens: how many ids are the unknown token.
        num_sentences: how many sentences the text has; None if the store was built without marks.
        data_hash: SHA-256 of the ids, in hexadecimal.
        folder: where the files lie.
    """

    def __init__(self, folder: str | Path):
        """Open what `build` has written."""
        self.folder = Path(folder)
        meta = json.loads((self.folder / "meta.json").read_text())
        self.pieces, self.num_bytes, self.unknown_tokens = (
            meta["pieces"],
            meta["num_bytes"],
            meta["unknown_tokens"],
        )
        self.data_hash, self.num_sentences = meta["data_hash"], meta.get("num_sentences")
        self.ids = np.memmap(self.folder / "ids.bin", dtype=meta["dtype"], mode="r")
        self.piece_ends = np.memmap(self.folder / "piece_ends.bin", dtype=np.int64, mode="r")
        self.document_ends = np.memmap(self.folder / "document_ends.bin", dtype=np.int64, mode="r")
        marks = self.folder / "marks.bin"
        self.marks = np.memmap(marks, dtype=np.uint8, mode="r") if marks.is_file() else None

    def __reduce__(self):  # a worker process maps the files itself instead of being sent a copy
        return TokenStore, (self.folder,)

    @classmethod
    def build(
        cls,
        corpus: Corpus,
        tokenizer: Tokenizer,
        split: str,
        pieces: str = "document",
        cache_dir: str | Path | None = None,
        report: Report | None = None,
        marks: bool = False,
    ) -> "TokenStore":
        """Tokenise a split of a corpus, or open the files of an earlier time.

        Args:
            corpus: gives documents and a fingerprint of their content.
            tokenizer: makes the ids; special tokens written out in the text are text.
            split: "train" or "validation".
            pieces: "document", "sentence" or "field".
            cache_dir: root of the cache (None: the user's); the files lie in `tokens/<hash>/`.
            report: called after each batch with the number of documents and of characters done so far.
            marks: whether to say where words and sentences begin, which takes longer.

        Raises:
            UserError: the split holds no text.
        """
        if pieces not in ("document", "sentence", "field"):
            raise ValueError(f"pieces={pieces!r}: a store is cut into 'document', 'sentence' or 'field'")
        facts = [
            FORMAT,
            corpus.fingerprint(),
            tokenizer.hash,
            tokenizer.eos_id,
            tokenizer.unk_id,
            split,
            pieces,
            *["marks"] * marks,
        ]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        folder = Path(cache_dir or default_cache_dir()) / "tokens" / key
        if not (folder / "meta.json").is_file():
            _remove_leftovers(folder)
            temporary = folder.with_name(f"{key}.{socket.gethostname()}.{os.getpid()}.tmp")
            try:
                _Writer(temporary, tokenizer, pieces, marks).write(corpus.documents(split), split, report)
                _rename(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return cls(folder)


class _Writer:
    """Writes the files of a store into a folder, a batch at a time."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, pieces: str, marks: bool):
        self.folder, self.tokenizer, self.pieces, self.marks = folder, tokenizer, pieces, marks
        self.dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 65535 else np.uint32)
        has_ending = pieces != "sentence" and tokenizer.eos_id is not None
        self.ending = np.array([tokenizer.eos_id] if has_ending else [], dtype=self.dtype)
        self.sha = hashlib.sha256()
        self.tokens = self.num_pieces = self.num_documents = self.unknown = self.sentences = 0
        self.seen = {"documents": 0, "characters": 0, "bytes": 0}
        self.piece_start = self.document_start = 0  # in tokens; in pieces

    def write(self, documents: Iterable[str], split: str, report: Report | None) -> None:
        """Write all files; `meta.json` last.

        Raises:
            UserError: no document holds text.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        names = ["ids", "piece_ends", "document_ends"] + ["marks"] * self.marks
        with ExitStack() as stack:
            files = [stack.enter_context(open(self.folder / f"{name}.bin", "wb")) for name in names]
            for batch in _batches(self._parts(documents)):
                for file, values in zip(files, self._arrays(batch), strict=True):
                    values.tofile(file)
                if report is not None:
                    report(self.seen["documents"], self.seen["characters"])
        if self.tokens == 0:
            raise UserError(f"the corpus has no text in its {split} split: its documents are empty or it has none")
        meta = {
            "pieces": self.pieces,
            "dtype": self.dtype.name,
            "tokens": self.tokens,
            "num_pieces": self.num_pieces,
        }
        meta |= {"num_documents": self.num_documents, "num_bytes": self.seen["bytes"]}
        meta |= {"unknown_tokens": self.unknown, "data_hash": self.sha.hexdigest()}
        meta |= {"num_sentences": self.sentences} if self.marks else {}
        atomic_write(self.folder / "meta.json", json.dumps(meta, indent=2) + "\n")

    def _parts(self, documents: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The text in parts of bounded length, each with what ends after it: "", "piece" or "document"."""
        for document in documents:
            for field in document.fields if self.pieces == "field" else [document]:
                for part in split_long(field, LONGEST_PART):
                    if self.pieces == "sentence":  # a line end, where parts are cut, ends a sentence too
                        yield from ((sentence, "piece") for sentence in split_sentences(part))
                    else:
                        yield part, ""
                if self.pieces == "field":
                    yield "", "piece"
            self.seen["documents"] += 1
            self.seen["characters"] += len(document)
            self.seen["bytes"] += len(document.encode("utf-8", "replace"))
            yield "", "document"

    def _arrays(self, batch: list[tuple[str, str]]) -> list[np.ndarray]:
        """The ids of a batch, where its pieces and documents end, and the marks if they are wanted.

        Pieces and documents without a token do not count, but for fields.
        """
        arrays, marks, piece_ends, document_ends = [], [], [], []
        for (ids, flags), (_, ends) in zip(self._encoded([text for text, _ in batch]), batch, strict=True):
            if self.tokens == self.piece_start:
                flags[:1] = WORD_START | SENTENCE_START
            arrays.append(ids.astype(self.dtype))
            marks.append(flags)
            self.sentences += int(np.count_nonzero(flags & SENTENCE_START))
            self.tokens += len(ids)
            is_filled = self.tokens > self.piece_start
            if ends and is_filled:
                arrays.append(self.ending)
                marks.append(np.full(len(self.ending), WORD_START | SENTENCE_START, dtype=np.uint8))
                self.tokens += len(self.ending)
            if (ends and is_filled) or (ends == "piece" and self.pieces == "field"):
                self.num_pieces += 1
                self.piece_start = self.tokens
                piece_ends.append(self.tokens)
            if ends == "document" and self.num_pieces > self.document_start:
                self.num_documents += 1
                self.document_start = self.num_pieces
                document_ends.append(self.num_pieces)
        ids = np.concatenate(arrays)
        self.sha.update(ids)
        if self.tokenizer.unk_id is not None:
            self.unknown += int(np.count_nonzero(ids == self.tokenizer.unk_id))
        found = [ids, np.array(piece_ends, dtype=np.int64), np.array(document_ends, dtype=np.int64)]
        return found + [np.concatenate(marks)] * self.marks

    def _encoded(self, texts: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The ids of each text and the flags of each token, no flags where marks are not wanted."""
        if not self.marks:
            return ((ids, np.zeros(0, dtype=np.uint8)) for ids in self.tokenizer.encode_batch(texts))
        encoded = self.tokenizer.encode_batch_with_words(texts)
        return ((each.ids, self._flags(text, each)) for text, each in zip(texts, encoded, strict=True))

    def _flags(self, text: str, encoded: Encoded) -> np.ndarray:
        flags = encoded.word_starts * np.uint8(WORD_START)
        if self.pieces != "sentence":  # else each text is one sentence
            starts = np.array([start for start, _ in sentence_spans(text)], dtype=np.int64)
            first_tokens = np.searchsorted(encoded.ends, starts, side="right")
            flags[first_tokens[first_tokens < len(flags)]] |= SENTENCE_START
        return flags


def _batches(parts: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Lists of parts with about `BATCH_CHARACTERS` characters together."""
    batch, size = [], 0
    for part in parts:
        batch.append(part)
        size += len(part[0]) + 1  # parts without characters take room, too
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _rename(temporary: Path, folder: Path) -> None:
    """Give the finished files their name; where another process was faster, keep its equal files."""
    try:
        os.replace(temporary, folder)
    except OSError:
        if not (folder / "meta.json").is_file():
            raise


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes of this machine have left of the same store."""
    for leftover in folder.parent.glob(f"{folder.name}.{glob.escape(socket.gethostname())}.*.tmp"):
        pid = int(leftover.name.split(".")[-2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            pass  # it runs, under another user
