"""Text to token ids and back: one wrapper around a fast tokenizer, whoever trained it."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, count, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers

from lmlab.errors import UserError
from lmlab.files import atomic_write, read_json_object
from lmlab.text.marks import word_starts
from lmlab.text.unigram import unigram_normalizer, unigram_pre_tokenizer
from lmlab.text.words import valid_unicode

# What published tokenizers call their special tokens, looked up in this order.
ROLE_NAMES = {
    "pad": ["[PAD]", "<pad>", "<|pad|>", "<|padding|>"],
    "unk": ["[UNK]", "<unk>"],
    "cls": ["[CLS]", "<cls>"],
    "sep": ["[SEP]", "<sep>"],
    "mask": ["[MASK]", "<mask>", "<|mask|>"],
    "bos": ["[BOS]", "<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"],
    "eos": ["[EOS]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"],
}
KNOWN_CHARACTERS = 1_000_000  # of the words whose ids `encode_batch` remembers


class Encoded(NamedTuple):
    """The tokens of a text.

    Attributes:
        ids: (T,) int32.
        word_starts: bool (T,), whether each begins a word (see `lmlab.text.marks`).
        ends: (T,) int64, the number of characters up to the end of each.
    """

    ids: np.ndarray
    word_starts: np.ndarray
    ends: np.ndarray


class Tokenizer:
    """A fast tokenizer that knows its special ids.

    Attributes:
        vocab_size: the largest id plus one; special tokens and sentinels are included.
        pad_id, unk_id, cls_id, sep_id, mask_id, bos_id, eos_id: int, or None where the tokenizer has no such
            token. One without its own beginning and end of text uses cls and sep for them.
        sentinel_ids: ids of `<extra_id_0>`, `<extra_id_1>`, ... (T5), maybe empty.
        separators_between: how many separators stand between two texts: two where the tokenizer's own rule says so
            (RoBERTa, BART), else one.
        special_ids: every id that stands for no text, or for text that is not known.
        structural_ids: those of them that stand for no text: what may be read but never hidden or asked for.
    """

    def __init__(self, backend: tokenizers.Tokenizer, roles: Mapping[str, str] | None = None):
        """Wrap `backend`; `roles` (for example `{"mask": "<mask>"}`) goes before the well-known names."""
        backend.no_truncation()  # published files may carry both, and would silently cut or pad every text
        backend.no_padding()
        self.backend = backend
        vocabulary = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        given = {role: name for role, name in (roles or {}).items() if name in vocabulary}
        self.roles = _well_known_roles(backend) | given
        ids = {role: vocabulary.get(self.roles.get(role)) for role in ROLE_NAMES}
        self.pad_id, self.unk_id, self.mask_id = ids["pad"], ids["unk"], ids["mask"]
        self.cls_id, self.sep_id = ids["cls"], ids["sep"]
        self.bos_id = ids["cls"] if ids["bos"] is None else ids["bos"]
        self.eos_id = ids["sep"] if ids["eos"] is None else ids["eos"]
        self.separators_between = 2 if backend.num_special_tokens_to_add(is_pair=True) == 4 else 1
        sentinels = takewhile(vocabulary.__contains__, (f"<extra_id_{number}>" for number in count()))
        self.sentinel_ids = [vocabulary[name] for name in sentinels]
        added = {id for id, token in backend.get_added_tokens_decoder().items() if token.special}
        self.special_ids = added | (set(ids.values()) - {None}) | set(self.sentinel_ids)
        others = {self.pad_id, self.cls_id, self.sep_id, self.mask_id, self.bos_id, self.eos_id}
        self.structural_ids = self.special_ids - ({self.unk_id} - others)  # GPT-2's unknown token also ends texts
        self._known: dict[str, tuple[int, ...]] = {}  # ids of the words that `encode_batch` has seen
        self._known_characters = 0

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a `tokenizer.json`, and the names of its special tokens from the files that may lie beside it.

        Raises:
            UserError: the file does not exist or is no tokenizer.
        """
        path = Path(path)
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises bare Exception, for a missing file too
            raise UserError(f"{path} cannot be read as a tokenizer.json: {error}") from None
        return cls(backend, roles_beside(path))

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json` to `path`, and `special_tokens_map.json` where names do not tell."""
        atomic_write(Path(path), self.json)
        if self.roles != _well_known_roles(self.backend):
            names = {f"{role}_token": name for role, name in self.roles.items()}
            atomic_write(Path(path).with_name("special_tokens_map.json"), json.dumps(names, indent=2) + "\n")

    @property
    def json(self) -> str:
        """The content of `tokenizer.json`."""
        return self.backend.to_str(pretty=True)

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the content."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:16]

    def encode(self, text: str, specials: bool = True) -> list[int]:
        """Ids of `text`, nothing added around it.

        Args:
            text: any text.
            specials: whether a special token written out, such as `[MASK]`, becomes its id (for people who
                type it), or is text like any other (for corpora, which may contain anything).
        """
        return self._encoding(text, specials).ids

    def encode_batch(self, texts: list[str], specials: bool = False) -> list[np.ndarray]:
        """Ids of each text as int32 arrays; special tokens written out are plain text.

        Most words have come before, and a look into a dictionary is several times faster than normalising and
        matching a word again.
        """
        texts = [valid_unicode(text) for text in texts]
        if specials or self._words is None or any(map(_ODD_SPACE.search, texts)):
            return [np.array(ids, dtype=np.int32) for ids in self._all_ids(texts, specials)]
        words = [self._words(text) for text in texts]
        if self._known_characters > KNOWN_CHARACTERS:
            self._known.clear()
            self._known_characters = 0
        new = list(set().union(*words).difference(self._known))
        self._known_characters += sum(map(len, new))
        self._known.update(zip(new, map(tuple, self._all_ids(new, specials)), strict=True))
        ids = self._known.__getitem__
        return [np.fromiter(chain.from_iterable(map(ids, text)), dtype=np.int32) for text in words]

    def encode_batch_with_words(self, texts: list[str]) -> list[Encoded]:
        """As `encode_batch`, with what is known of each token: whether it begins a word, and where it ends."""
        texts = [valid_unicode(text) for text in texts]
        self.backend.encode_special_tokens = True
        encodings = self.backend.encode_batch(texts, add_special_tokens=False)
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), dtype=np.int32)
        pairs = chain.from_iterable(encoding.offsets for encoding in encodings)
        offsets = np.fromiter(chain.from_iterable(pairs), dtype=np.int64).reshape(-1, 2)
        word_ids = np.array([word for encoding in encodings for word in encoding.word_ids], dtype=float)
        # All texts at once, as one text: many are single sentences.
        text_starts = np.cumsum([0, *map(len, texts)])[:-1]
        starts, ends = (offsets + np.repeat(text_starts, lengths)[:, None]).T
        begins = word_starts("".join(texts), starts, ends, word_ids if self._cuts_words else None)
        borders = np.cumsum(lengths)
        begins[borders[borders < len(ids)]] = True
        parts = (np.split(array, borders)[: len(texts)] for array in (ids, begins, offsets[:, 1]))
        return [Encoded(*part) for part in zip(*parts, strict=True)]

    def encode_with_offsets(self, text: str, specials: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and, for each, its characters `text[start:end]`, a space at the beginning left out."""
        encoding = self._encoding(text, specials)
        return encoding.ids, [_trim(text, start, end) for start, end in encoding.offsets]

    def encode_pretokenized(self, words: list[str]) -> tuple[list[int], list[int]]:
        """Ids of a text given word by word, and for each id the index of its word.

        The ids are those of the words joined by spaces. A token that is only a space (characters, bytes)
        counts to the word before it, so that the first token of a word is the first of its own.
        """
        before, after = self._word_space
        last = len(words) - 1
        texts = [before * (i > 0) + word + after * (i < last) for i, word in enumerate(words)]
        parts = [part.tolist() for part in self.encode_batch(texts)]
        return list(chain(*parts)), [index for index, part in enumerate(parts) for _ in part]

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Text of `ids` for people to read: exact for bpe, byte and char, tidied for WordPiece."""
        ids = [int(id) for id in ids]
        if skip_special:
            ids = [id for id in ids if id not in self.special_ids]
        text = self.backend.decode(ids, skip_special_tokens=False)
        return _tidy(text) if isinstance(self.backend.decoder, decoders.WordPiece) else text

    def token(self, id: int) -> str:
        """The token of an id as it stands in the vocabulary; "" for an id that it does not have."""
        return self.backend.id_to_token(int(id)) or ""

    def id(self, token: str) -> int | None:
        """The id of a token of the vocabulary, or None."""
        return self.backend.token_to_id(token)

    def _encoding(self, text: str, specials: bool) -> tokenizers.Encoding:
        self.backend.encode_special_tokens = not specials
        return self.backend.encode(valid_unicode(text), add_special_tokens=False)

    def _all_ids(self, texts: list[str], specials: bool) -> Iterator[list[int]]:
        self.backend.encode_special_tokens = not specials
        return (encoding.ids for encoding in self.backend.encode_batch_fast(texts, add_special_tokens=False))

    @cached_property
    def _cuts_words(self) -> bool:
        """Whether the tokenizer itself says which tokens make a word."""
        return len(set(self._encoding("a b", specials=False).word_ids)) > 1

    @cached_property
    def _words(self) -> Callable[[str], list[str]] | None:
        """How to cut text into words whose ids depend on no other word; None: not known."""
        normal, split = self.backend.normalizer, self.backend.pre_tokenizer
        if not all(token.special for token in self.backend.get_added_tokens_decoder().values()):
            return None
        if isinstance(normal, normalizers.BertNormalizer) and isinstance(split, pre_tokenizers.BertPreTokenizer):
            return re.compile(r"[.,;:!?“”()—\"]|[^\s.,;:!?“”()—\"]+").findall  # marks are words of their own
        if normal is None and isinstance(split, pre_tokenizers.ByteLevel):
            return re.compile(r"\s*\S+|\s+").findall if split.use_regex and not split.add_prefix_space else None
        ours = [_settings(unigram_normalizer(lowercase)) for lowercase in (False, True)]
        if _settings(split) == _settings(unigram_pre_tokenizer()) and _settings(normal) in ours:
            return str.split
        return None

    @cached_property
    def _word_space(self) -> tuple[str, str]:
        """Where the space between two words goes when they are encoded one by one: (before, after)."""

        def length(text: str) -> int:
            return len(self.encode(text, specials=False))

        if self.encode("a b", specials=False) == [id for text in "ab" for id in self.encode(text, specials=False)]:
            return "", ""  # WordPiece and Unigram mark the beginning of a word themselves
        joins = any(length(" " + letter) == length(letter) for letter in "abcdefghijklmnopqrstuvwxyz")
        return (" ", "") if joins else ("", " ")

    def __reduce__(self):  # a copy for another process leaves the remembered words behind
        return _unpickle, (self.json, self.roles)


# Characters that Python takes for white space and that the normalizers drop, or the other way round.
_ODD_SPACE = re.compile("[\x0b\x0c\x1c-\x1f\x85]")


def _unpickle(content: str, roles: dict[str, str]) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(content), roles)


def _well_known_roles(backend: tokenizers.Tokenizer) -> dict[str, str]:
    """Role -> token, by name; among the added tokens where there are any: elsewhere "<s>" may be text."""
    added = [token.content for token in backend.get_added_tokens_decoder().values()]
    known = set(added) or set(backend.get_vocab())
    found = {role: next((name for name in names if name in known), None) for role, names in ROLE_NAMES.items()}
    if found["mask"] == "<mask>":  # RoBERTa and BART: <s> and </s> are also what BERT calls [CLS] and [SEP]
        found["cls"], found["sep"] = found["cls"] or found["bos"], found["sep"] or found["eos"]
    return {role: name for role, name in found.items() if name}


def roles_beside(path: Path) -> dict[str, str]:
    """Role -> token, from the two files that Hugging Face keeps beside a tokenizer.json.

    Raises UserError when one of them holds no JSON object.
    """
    roles = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = path.with_name(name)
        content = read_json_object(file) if file.is_file() else {}
        for role in ROLE_NAMES:
            token = content.get(f"{role}_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                roles[role] = token
    return roles


def _settings(part: normalizers.Normalizer | pre_tokenizers.PreTokenizer | None) -> bytes | None:
    """The settings of a part of a tokenizer, which the package compares by identity only."""
    return None if part is None else part.__getstate__()


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The offsets without leading white space, unless there is nothing else."""
    length = len(text[start:end].lstrip())
    return (end - length, end) if length else (start, end)


def _tidy(text: str) -> str:
    """Spaces as people set them round punctuation: WordPiece has forgotten where they were."""
    text = re.sub(r" ([.,;:!?%)\]}…”’])", r"\1", text)
    text = re.sub(r"([(\[{“‘]) ", r"\1", text)
    text = re.sub(r"(\w) ?(['’]) ?(s|t|m|d|re|ve|ll)\b", r"\1\2\3", text)
    return re.sub(r"(\w) ([-_/]) (?=\w)", r"\1\2", text)
