"""Text to token ids: one wrapper around a fast tokenizer, and the ways to train one or to load one.

WordPiece: Schuster & Nakajima (2012), as in BERT (arXiv:1810.04805). Byte-pair encoding: Sennrich et al.
(arXiv:1508.07909), on bytes as in GPT-2. Unigram: Kudo (arXiv:1804.10959), as in SentencePiece
(arXiv:1808.06226).

Training is deterministic: the same documents and settings give the same bytes of `tokenizer.json`, whatever
the hash seed and the number of threads. The trainers of the package alone do not promise that for WordPiece
and Unigram, so here WordPiece fixes the ids of all characters beforehand and Unigram runs its own EM.
"""

import hashlib
import json
import re
import string
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, count, pairwise, takewhile
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from lmlab.errors import UserError
from lmlab.files import atomic_write

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # ids 0 to 4 of every tokenizer trained here

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


# --- The wrapper


class Tokenizer:
    """A fast tokenizer that knows its special ids, whoever trained it.

    Attributes:
        vocab_size: the largest id plus one; special tokens and sentinels are included.
        pad_id, unk_id, cls_id, sep_id, mask_id, bos_id, eos_id: int, or None where the tokenizer has no such
            token. One without its own beginning and end of text uses cls and sep for them.
        sentinel_ids: ids of `<extra_id_0>`, `<extra_id_1>`, ... (T5), maybe empty.
        special_ids: every id that stands for no text.
    """

    def __init__(self, backend: tokenizers.Tokenizer, roles: Mapping[str, str] | None = None):
        """Wrap `backend`; `roles` (for example `{"mask": "<mask>"}`) goes before the well-known names."""
        backend.no_truncation()  # published files may carry both, and would silently cut or pad every text
        backend.no_padding()
        self.backend = backend
        vocabulary = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        self.roles = {
            **_well_known_roles(backend),
            **{r: n for r, n in (roles or {}).items() if n in vocabulary},
        }
        ids = {role: vocabulary.get(self.roles.get(role)) for role in ROLE_NAMES}
        self.pad_id, self.unk_id, self.mask_id = ids["pad"], ids["unk"], ids["mask"]
        self.cls_id, self.sep_id = ids["cls"], ids["sep"]
        self.bos_id = ids["cls"] if ids["bos"] is None else ids["bos"]
        self.eos_id = ids["sep"] if ids["eos"] is None else ids["eos"]
        names = takewhile(vocabulary.__contains__, (f"<extra_id_{number}>" for number in count()))
        self.sentinel_ids = [vocabulary[name] for name in names]
        added = {id for id, token in backend.get_added_tokens_decoder().items() if token.special}
        self._known: dict[str, tuple[int, ...]] = {}  # ids of runs of characters that `encode_batch` has seen
        self._known_characters = 0
        self.special_ids = added | {id for id in ids.values() if id is not None} | set(self.sentinel_ids)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a `tokenizer.json`, and beside it the names of its special tokens where such files lie there.

        Raises:
            UserError: the file does not exist or is no tokenizer.
        """
        path = Path(path)
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises bare Exception, for a missing file too
            raise UserError(f"{path} cannot be read as a tokenizer.json: {error}") from None
        return cls(backend, _roles_beside(path))

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
        """Ids of each text as int32 arrays; special tokens written out are plain text."""
        texts = [_valid(text) for text in texts]
        if specials or self._cut is None or any(map(_ODD_SPACE.search, texts)):
            return [np.array(ids, dtype=np.int32) for ids in self._all_ids(texts, specials)]
        runs = [self._cut(text) for text in texts]
        if self._known_characters > 1_000_000:  # the memory has a bound
            self._known.clear()
            self._known_characters = 0
        new = list(set().union(*runs).difference(self._known))
        self._known_characters += sum(map(len, new))
        self._known.update(zip(new, map(tuple, self._all_ids(new, specials)), strict=True))
        ids = self._known.__getitem__
        return [np.fromiter(chain.from_iterable(map(ids, run)), dtype=np.int32) for run in runs]

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
        texts = [(before if i else "") + word + (after if i < len(words) - 1 else "") for i, word in enumerate(words)]
        parts = self.encode_batch(texts)
        word_ids = np.repeat(np.arange(len(words)), [len(part) for part in parts])
        return [int(id) for part in parts for id in part], word_ids.tolist()

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

    def _all_ids(self, texts: list[str], specials: bool) -> Iterator[list[int]]:
        self.backend.encode_special_tokens = not specials
        encodings = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        return (encoding.ids for encoding in encodings)

    @cached_property
    def _cut(self) -> Callable[[str], list[str]] | None:
        """How to cut text into runs that are encoded independently of each other; None: not known.

        Most runs are words that have come before, and a look into a dictionary is several times faster than
        normalising and matching the word again.
        """
        normal, words = self.backend.normalizer, self.backend.pre_tokenizer
        if not all(token.special for token in self.backend.get_added_tokens_decoder().values()):
            return None
        if isinstance(normal, normalizers.BertNormalizer) and isinstance(words, pre_tokenizers.BertPreTokenizer):
            return re.compile(r"[.,;:!?“”()—\"]|[^\s.,;:!?“”()—\"]+").findall  # marks are words of their own
        if normal is None and isinstance(words, pre_tokenizers.ByteLevel):
            return re.compile(r"\s*\S+|\s+").findall if words.use_regex and not words.add_prefix_space else None
        ours = [_state(_unigram_normalizer(lowercase)) for lowercase in (False, True)]
        if words is not None and _state(words) == _state(_unigram_pre_tokenizer()) and _state(normal) in ours:
            return str.split
        return None

    def _encoding(self, text: str, specials: bool) -> tokenizers.Encoding:
        self.backend.encode_special_tokens = not specials
        return self.backend.encode(_valid(text), add_special_tokens=False)

    @cached_property
    def _word_space(self) -> tuple[str, str]:
        """Where the space between two words goes when they are encoded one by one: (before, after)."""
        encode = lambda text: self.encode(text, specials=False)  # noqa: E731
        if encode("a b") == encode("a") + encode("b"):
            return "", ""  # WordPiece and Unigram mark the beginning of a word themselves
        joins = any(len(encode(" " + letter)) == len(encode(letter)) for letter in "abcdefghijklmnopqrstuvwxyz")
        return (" ", "") if joins else ("", " ")

    def __reduce__(self):
        return _unpickle, (self.json, self.roles)


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


def _roles_beside(path: Path) -> dict[str, str]:
    """Role -> token, from the two files that Hugging Face keeps beside a tokenizer.json."""
    roles = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = path.with_name(name)
        content = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        for role in ROLE_NAMES:
            token = content.get(f"{role}_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                roles[role] = token
    return roles


def _valid(text: str) -> str:
    """`text` with lone surrogates (which JSON can carry, UTF-8 cannot) as question marks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


# Characters that Python takes for white space and that the normalizers drop, or the other way round.
_ODD_SPACE = re.compile("[\x0b\x0c\x1c-\x1f\x85]")


def _state(part: normalizers.Normalizer | pre_tokenizers.PreTokenizer | None) -> bytes | None:
    """The settings of a part of a tokenizer."""
    return None if part is None else part.__getstate__()


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The offsets without leading white space, unless there is nothing else."""
    first = start
    while first < end and text[first].isspace():
        first += 1
    return (first, end) if first < end else (start, end)


def _tidy(text: str) -> str:
    """Spaces as people set them round punctuation: WordPiece has forgotten where they were."""
    text = re.sub(r" ([.,;:!?%)\]}…”’])", r"\1", text)
    text = re.sub(r"([(\[{“‘]) ", r"\1", text)
    text = re.sub(r"(\w) ?(['’]) ?(s|t|m|d|re|ve|ll)\b", r"\1\2\3", text)
    return re.sub(r"(\w) ([-_/]) (?=\w)", r"\1\2", text)


# --- The ways to train one


class TokenizerTrainer(ABC):
    """Settings of a tokenizer, which subclasses keep as attributes, and how to get one from documents."""

    needs_corpus = True  # False: `train` reads no documents, so nothing is gained by a cache

    def fingerprint(self) -> str:
        """SHA-256 of the settings and of the package's version, in hexadecimal."""
        settings = {"class": type(self).__qualname__, "tokenizers": tokenizers.__version__, **vars(self)}
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()

    @abstractmethod
    def train(self, documents: Iterable[str]) -> Tokenizer:
        """Make the tokenizer; documents are read once, as a stream.

        Raises:
            UserError: the documents hold no text, or the vocabulary is too small for their characters.
        """


class WordPiece(TokenizerTrainer):
    """WordPiece by BERT's rules: words and punctuation apart, then the longest known piece first.

    Args:
        vocab_size: size of the whole vocabulary; smaller where the text gives no more pieces.
        lowercase: whether letters are lowercased.
        strip_accents: whether accents are dropped; None: as `lowercase`.
        split_chinese: whether every Chinese character is a word of its own.
        min_frequency: how often a pair of pieces must occur to be joined.
        character_coverage: share of the text's characters that the alphabet must cover; rarer ones are [UNK],
            but for ASCII, which is always there.
        num_sentinels: number of `<extra_id_*>` tokens.
        max_characters: how much text training reads at most.
    """

    def __init__(
        self,
        vocab_size: int = 8192,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        min_frequency: int = 2,
        character_coverage: float = 0.99999,
        num_sentinels: int = 100,
        max_characters: int = 200_000_000,
    ):
        self.vocab_size, self.min_frequency, self.num_sentinels = vocab_size, min_frequency, num_sentinels
        self.lowercase, self.strip_accents, self.split_chinese = lowercase, strip_accents, split_chinese
        self.character_coverage, self.max_characters = character_coverage, max_characters

    def train(self, documents: Iterable[str]) -> Tokenizer:
        backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        backend.normalizer = normalizers.BertNormalizer(
            lowercase=self.lowercase,
            strip_accents=self.strip_accents,
            handle_chinese_chars=self.split_chinese,
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
        words = _count_words(_limited(documents, self.max_characters), backend)
        backend.model = models.WordPiece(self._vocabulary(words), unk_token="[UNK]")
        return _finish(backend, self.num_sentinels)

    def _vocabulary(self, words: Counter[str]) -> dict[str, int]:
        """Token -> id, learnt from `words`.

        The package numbers the characters inside words (`##x`) in the order of a hash table and breaks ties
        by these numbers (tokenizers#1794). Given as special tokens, in sorted order, they are fixed before.
        """
        alphabet = _alphabet(words, self.character_coverage, self.lowercase)
        words = {word: times for word, times in words.items() if alphabet.issuperset(word)}
        inside = sorted({"##" + character for word in words for character in word[1:]})
        fixed = _special_tokens(self.num_sentinels) + sorted(alphabet) + inside
        _check_size(self.vocab_size, len(fixed), f"{len(alphabet)} characters at word starts and {len(inside)} inside")
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=fixed,
            show_progress=False,
        )
        learner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        learner.train_from_iterator(_repeated(words), trainer)
        return learner.get_vocab(with_added_tokens=True)


class BPE(TokenizerTrainer):
    """Byte-pair encoding on bytes, as in GPT-2: any text can be encoded, and decoding gives it back exactly.

    Args:
        vocab_size: size of the whole vocabulary; smaller where the text gives no more pieces.
        min_frequency: how often a pair of pieces must occur to be joined.
        num_sentinels: number of `<extra_id_*>` tokens.
        max_characters: how much text training reads at most.
    """

    def __init__(
        self,
        vocab_size: int = 8192,
        min_frequency: int = 2,
        num_sentinels: int = 100,
        max_characters: int = 200_000_000,
    ):
        self.vocab_size, self.min_frequency = vocab_size, min_frequency
        self.num_sentinels, self.max_characters = num_sentinels, max_characters

    def train(self, documents: Iterable[str]) -> Tokenizer:
        specials = _special_tokens(self.num_sentinels)
        _check_size(self.vocab_size, len(specials) + 256, "256 bytes")
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=_added_tokens(specials, takes_space=True),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        parts = (part for text in _limited(documents, self.max_characters) for part in split_long(text, 100_000))
        backend.train_from_iterator(parts, trainer)
        return Tokenizer(backend)


class Unigram(TokenizerTrainer):
    """Unigram language model with `▁` for spaces, as in SentencePiece and T5: the likeliest pieces win.

    Unlike in SentencePiece, letters and punctuation share no piece: a word is the same before any mark.

    Args:
        vocab_size: size of the whole vocabulary; smaller where the text gives no more pieces.
        lowercase: whether letters are lowercased.
        character_coverage: share of the text's characters that the alphabet must cover; rarer ones are [UNK],
            but for ASCII, which is always there.
        max_piece_length: longest piece, in characters.
        seed_size: number of frequent substrings from which pieces are pruned.
        num_sentinels: number of `<extra_id_*>` tokens.
        max_characters: how much text training reads at most.
    """

    def __init__(
        self,
        vocab_size: int = 8192,
        lowercase: bool = False,
        character_coverage: float = 0.99999,
        max_piece_length: int = 16,
        seed_size: int = 100_000,
        num_sentinels: int = 100,
        max_characters: int = 200_000_000,
    ):
        self.vocab_size, self.lowercase, self.character_coverage = vocab_size, lowercase, character_coverage
        self.max_piece_length, self.seed_size = max_piece_length, seed_size
        self.num_sentinels, self.max_characters = num_sentinels, max_characters

    def train(self, documents: Iterable[str]) -> Tokenizer:
        backend = tokenizers.Tokenizer(models.Unigram())
        backend.normalizer = _unigram_normalizer(self.lowercase)
        backend.pre_tokenizer = _unigram_pre_tokenizer()
        backend.decoder = decoders.Metaspace(prepend_scheme="always")
        words = _count_words(_limited(documents, self.max_characters), backend)
        alphabet = _alphabet(words, self.character_coverage, self.lowercase)
        specials = _special_tokens(self.num_sentinels)
        _check_size(self.vocab_size, len(specials) + len(alphabet), f"{len(alphabet)} characters")
        pieces = _unigram_pieces(
            words, alphabet, self.vocab_size - len(specials), self.seed_size, self.max_piece_length
        )
        vocabulary = [(token, 0.0) for token in specials] + pieces  # split by the pattern, "[MASK]" never matches
        backend.model = models.Unigram(vocabulary, unk_id=SPECIAL_TOKENS.index("[UNK]"), byte_fallback=False)
        return _finish(backend, self.num_sentinels, takes_space=True)


class Char(TokenizerTrainer):
    """One token per character, line ends and spaces included: the alphabet of the corpus, in Unicode's order.

    Args:
        vocab_size: size that the vocabulary has at most; the rarest characters beyond it are [UNK].
        min_count: how often a character must occur; rarer ones are [UNK].
        num_sentinels: number of `<extra_id_*>` tokens.
        max_characters: how much text training reads at most.
    """

    def __init__(
        self,
        vocab_size: int = 8192,
        min_count: int = 1,
        num_sentinels: int = 100,
        max_characters: int = 200_000_000,
    ):
        self.vocab_size, self.min_count = vocab_size, min_count
        self.num_sentinels, self.max_characters = num_sentinels, max_characters

    def train(self, documents: Iterable[str]) -> Tokenizer:
        counts: Counter[str] = Counter()
        for text in _limited(documents, self.max_characters):
            counts.update(text)
        specials = _special_tokens(self.num_sentinels)
        _check_size(self.vocab_size, len(specials) + 1, "at least one character")
        frequent = [pair for pair in counts.items() if pair[1] >= self.min_count]
        kept = sorted(frequent, key=lambda pair: (-pair[1], pair[0]))[: self.vocab_size - len(specials)]
        vocabulary = specials + sorted(character for character, _ in kept)
        # Byte-pair encoding without pairs: characters apart, at the speed of the package.
        model = models.BPE(_numbered(vocabulary), merges=[], unk_token="[UNK]")
        backend = tokenizers.Tokenizer(model)
        backend.decoder = decoders.Fuse()
        return _finish(backend, self.num_sentinels)


class Byte(TokenizerTrainer):
    """One token per byte of UTF-8, as in ByT5 (arXiv:2105.13626): needs no training, knows every text.

    Args:
        num_sentinels: number of `<extra_id_*>` tokens.
    """

    needs_corpus = False

    def __init__(self, num_sentinels: int = 100):
        self.num_sentinels = num_sentinels

    def train(self, documents: Iterable[str] = ()) -> Tokenizer:
        vocabulary = _special_tokens(self.num_sentinels) + _byte_characters()
        backend = tokenizers.Tokenizer(models.BPE(_numbered(vocabulary), merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.decoder = decoders.ByteLevel()
        return _finish(backend, self.num_sentinels)


class Pretrained(TokenizerTrainer):
    """A published tokenizer, from a `tokenizer.json`, from a folder that holds one, or from the hub.

    Args:
        path: file, folder or hub name (`bert-base-uncased`, `google/t5-v1_1-small`). With `HF_HUB_OFFLINE=1`
            a hub name is looked up in the local cache only.
        revision: branch, tag or commit on the hub; None: its main branch.
    """

    needs_corpus = False

    def __init__(self, path: str | None = None, revision: str | None = None):
        self.path, self.revision = path, revision

    def train(self, documents: Iterable[str] = ()) -> Tokenizer:
        if not self.path:
            raise UserError("tokenizer=pretrained needs tokenizer.path: a tokenizer.json, its folder or a hub name")
        path = Path(self.path).expanduser()
        if path.is_dir():
            path = path / "tokenizer.json"
        if path.is_file():
            return Tokenizer.load(path)
        if path.parent.is_dir() and (path.name == "tokenizer.json" or path.suffix == ".json"):
            raise UserError(f"{path.parent} holds no {path.name}: {_HOW_TO_SAVE.format(folder=path.parent)}")
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", self.path):
            raise UserError(f"tokenizer.path={self.path}: no such folder. {_HOW_TO_SAVE.format(folder=self.path)}")
        return Tokenizer.load(_from_hub(self.path, self.revision))


_HOW_TO_SAVE = (
    "put a tokenizer.json into {folder}, for example by transformers' "
    'AutoTokenizer.from_pretrained("<name>").save_pretrained("{folder}")'
)


def _from_hub(name: str, revision: str | None) -> Path:
    """Path of the tokenizer.json in the hub's cache, beside it the files that name its special tokens."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(name, "tokenizer.json", revision=revision))
    except (OSError, ValueError, HfHubHTTPError, EntryNotFoundError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"tokenizer.path={name}: no such file or folder here, and no tokenizer.json of that name in the "
            f"hub's cache or on the hub ({reason}). Without network, "
            f"{_HOW_TO_SAVE.format(folder='a folder')} and give tokenizer.path that folder"
        ) from None
    for extra in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            hf_hub_download(name, extra, revision=revision)
        except (OSError, ValueError, HfHubHTTPError, EntryNotFoundError, LocalEntryNotFoundError):
            continue  # optional: well-known names do without
    return path


def load_or_train(
    trainer: TokenizerTrainer,
    corpus_documents_fn: Callable[[], Iterable[str]],
    corpus_fingerprint: str,
    cache_dir: str | Path,
) -> Tokenizer:
    """The tokenizer of these settings and this corpus: from the cache, or trained and put there.

    Args:
        trainer: the settings.
        corpus_documents_fn: gives the documents; called only when training is needed.
        corpus_fingerprint: hash of the corpus' content.
        cache_dir: root of the cache; the file is `tokenizers/<hash of settings and corpus>.json`.

    Raises:
        UserError: as `train` does.
    """
    if not trainer.needs_corpus:
        return trainer.train(())
    key = hashlib.sha256(f"{trainer.fingerprint()} {corpus_fingerprint}".encode()).hexdigest()[:32]
    path = Path(cache_dir) / "tokenizers" / f"{key}.json"
    if not path.is_file():
        trainer.train(corpus_documents_fn()).save(path)
    return Tokenizer.load(path)


# --- What the ways share


def _unigram_normalizer(lowercase: bool) -> normalizers.Normalizer:
    return normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
        + [normalizers.Lowercase()] * lowercase
    )


def _unigram_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    words_or_marks = Regex(r"▁?[\p{L}\p{M}\p{N}]+|▁?[^\p{L}\p{M}\p{N}▁]+|▁")
    spaces = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    return pre_tokenizers.Sequence([spaces, pre_tokenizers.Split(words_or_marks, "isolated")])


def _special_tokens(num_sentinels: int) -> list[str]:
    return SPECIAL_TOKENS + [f"<extra_id_{number}>" for number in range(num_sentinels)]


def _added_tokens(names: list[str], takes_space: bool) -> list[AddedToken]:
    """Declare `names` special. `takes_space`: "a [MASK] b" has no token for the space before the mask,
    because the word that the mask hides would have carried it (as in RoBERTa).
    """
    hides_text = lambda name: name == "[MASK]" or name.startswith("<extra_id_")  # noqa: E731
    return [AddedToken(name, special=True, normalized=False, lstrip=takes_space and hides_text(name)) for name in names]


def _finish(backend: tokenizers.Tokenizer, num_sentinels: int, takes_space: bool = False) -> Tokenizer:
    backend.add_special_tokens(_added_tokens(_special_tokens(num_sentinels), takes_space))
    return Tokenizer(backend)


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: id for id, token in enumerate(tokens)}


def _check_size(vocab_size: int, needed: int, of_which: str) -> None:
    if vocab_size < needed:
        raise UserError(
            f"tokenizer.vocab_size={vocab_size} is too small: special tokens, sentinels and {of_which} "
            f"already need {needed}. Raise tokenizer.vocab_size, or lower tokenizer.num_sentinels or, "
            "where the option has it, tokenizer.character_coverage"
        )


def _limited(documents: Iterable[str], max_characters: int) -> Iterator[str]:
    """The documents that hold text, as far as `max_characters` go.

    Raises:
        UserError: there is none. It is raised here and now, not when the stream is read.
    """
    with_text = (_valid(text) for text in documents if text and not text.isspace())
    first = next(with_text, None)
    if first is None:
        raise UserError("the corpus holds no text to train a tokenizer on: its documents are empty or it has none")

    def stream() -> Iterator[str]:
        left = max_characters
        for text in chain([first], with_text):
            yield text[:left]
            left -= len(text)
            if left <= 0:
                return

    return stream()


def split_long(text: str, limit: int) -> Iterator[str]:
    """Cut `text` into parts of about `limit` characters, so that a huge document needs little memory.

    Cuts are at line ends if there are any, always before the last white space ahead of other characters:
    there BERT's pattern, GPT-2's and ours separate anyway, so that parts have the same tokens as the whole.
    """
    start = 0
    while len(text) - start > limit:
        place = start + limit
        near = (pattern.search(text, place, place + limit) for pattern in _LINE_ENDS)
        match = next(filter(None, near), None) or _SPACE.search(text, place)
        if match is None:
            break
        yield text[start : match.end() - 1]
        start = match.end() - 1
    if start < len(text):
        yield text[start:]


_LINE_ENDS = [re.compile(r"(?<=\S)\n(?=\S)"), re.compile(r"\n\s*(?=\S)")]
_SPACE = re.compile(r"\s(?=\S)")


def _count_words(documents: Iterable[str], backend: tokenizers.Tokenizer) -> Counter[str]:
    """How often each word occurs, words as `backend` cuts them.

    White space always separates words, so that each distinct run of other characters is looked at once only.
    Words seen least are forgotten when there are too many, so that memory has a bound (text without spaces).
    """
    words: Counter[str] = Counter()
    runs: Counter[str] = Counter()

    def flush() -> None:
        for run, times in runs.items():
            for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(run)):
                words[word] += times
        runs.clear()
        rare = 1
        while len(words) > 2_000_000:
            for word in [word for word, times in words.items() if times <= rare]:
                del words[word]
            rare *= 2

    for text in documents:
        for part in split_long(text, 1_000_000):
            runs.update(part.split())
            if len(runs) > 500_000:
                flush()
    flush()
    return words


def _alphabet(words: Mapping[str, int], coverage: float, lowercase: bool) -> set[str]:
    """The most frequent characters that make up `coverage` of the text, and those of any keyboard."""
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for character in word:
            counts[character] += times
    typed = string.ascii_lowercase + string.digits + string.punctuation
    alphabet = set(typed if lowercase else typed + string.ascii_uppercase)
    covered, wanted = 0, coverage * counts.total()
    for character, times in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if covered >= wanted:
            break
        alphabet.add(character)
        covered += times
    return alphabet


def _repeated(words: Mapping[str, int]) -> Iterator[str]:
    """Text in which each word occurs as often as counted: the trainers of the package take no counts."""
    for word, times in sorted(words.items()):
        line = " ".join([word] * min(times, 10_000))
        for _ in range(times // 10_000):
            yield line
        if times % 10_000:
            yield line if times < 10_000 else " ".join([word] * (times % 10_000))


def _byte_characters() -> list[str]:
    """The character that stands for each byte 0 to 255 in byte-level vocabularies (GPT-2's table)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = count(256)
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]


# --- Unigram's pieces


def _unigram_pieces(
    words: Mapping[str, int], alphabet: set[str], size: int, seed_size: int, max_length: int
) -> list[tuple[str, float]]:
    """Pieces and their log probabilities: EM and pruning in turn (arXiv:1804.10959, section 3.2).

    The steps are SentencePiece's: frequent substrings as seeds; two EM steps; drop the quarter whose loss
    costs least likelihood; again until 1.1 times `size` is reached. Single characters always stay. All sums
    run in a fixed order, on one thread, so that equal input gives equal bytes.
    """
    words = _known_parts(words, alphabet)
    pieces = _seed_pieces(words, alphabet, seed_size, max_length)
    counts = np.array(list(words.values()), dtype=np.float64)
    text = _Lattice(list(words), _numbered(pieces), whole=True)
    alternatives = _Lattice(pieces, _numbered(pieces), whole=False)  # each piece without itself
    ids = np.arange(len(pieces))  # of the pieces still there, in the order of the seeds
    single = np.array([len(piece) == 1 for piece in pieces])
    scores = np.full(len(pieces), -np.log(len(pieces)))
    enough = int(1.1 * size)
    while True:
        for _ in range(2):
            expected = text.expected_counts(scores, counts)
            keep = single[ids] | (expected[ids] >= 0.5)
            ids = ids[keep]
            scores = _maximise(expected, ids, len(pieces))
            text.drop(scores)
        if len(ids) <= enough:
            break
        alternatives.drop(scores)
        ids = _prune(ids, single, scores, text, alternatives, counts, max(enough, int(0.75 * len(ids))))
        scores = np.where(np.isin(np.arange(len(pieces)), ids), scores, -np.inf)
        text.drop(scores)
    best = sorted(ids, key=lambda id: (not single[id], -round(scores[id], 9), id))[:size]
    return sorted(((pieces[id], round(float(scores[id]), 9)) for id in best), key=lambda pair: (-pair[1], pair[0]))


def _known_parts(words: Mapping[str, int], alphabet: set[str], longest: int = 64) -> dict[str, int]:
    """Words in sorted order, cut where the alphabet lacks a character and where they are too long.

    Of text without spaces, where every clause is such a word, the most frequent two million characters: EM
    holds all ways to cut them in memory.
    """
    parts: Counter[str] = Counter()
    for word, times in words.items():
        known = word if alphabet.issuperset(word) else "".join(c if c in alphabet else " " for c in word)
        for part in known.split(" "):
            for start in range(0, len(part), longest):
                parts[part[start : start + longest]] += times
    frequent = sorted(parts.items(), key=lambda pair: (-pair[1], pair[0]))
    room = np.cumsum([len(part) for part, _ in frequent]) <= 2_000_000
    return dict(sorted(frequent[: max(int(room.sum()), 1)]))


def _seed_pieces(words: Mapping[str, int], alphabet: set[str], seed_size: int, max_length: int) -> list[str]:
    """All characters, and the substrings with the largest frequency × length."""
    frequent = alphabet
    candidates: list[tuple[int, str]] = []
    for length in range(2, max_length + 1):
        counts: Counter[str] = Counter()
        for word, times in words.items():
            for start in range(len(word) - length + 1):
                if word[start : start + length - 1] in frequent:
                    counts[word[start : start + length]] += times
        frequent = {piece for piece, times in counts.items() if times >= 2}
        candidates += [(-counts[piece] * length, piece) for piece in frequent]
        candidates = sorted(candidates)[:seed_size]
    return sorted(alphabet) + [piece for _, piece in candidates[: max(seed_size - len(alphabet), 0)]]


def _maximise(expected: np.ndarray, ids: np.ndarray, size: int) -> np.ndarray:
    """Log probabilities of the pieces `ids`, -inf for all others.

    Digamma in place of the logarithm is a sparse prior (Bayesian EM), as in SentencePiece.
    """
    from scipy.special import digamma

    scores = np.full(size, -np.inf)
    frequencies = np.maximum(expected[ids], 0.5)
    scores[ids] = digamma(frequencies) - digamma(frequencies.sum())
    return scores


def _prune(ids, single, scores, text: "_Lattice", alternatives: "_Lattice", counts, size: int) -> np.ndarray:
    """The `size` pieces whose loss would cost most likelihood, the next best cut in their place."""
    words, used = text.best_paths(scores)
    frequency = np.bincount(used, weights=counts[words], minlength=len(scores))
    total = frequency.sum()
    piece, parts = alternatives.best_paths(scores, only=ids[~single[ids] & (frequency[ids] > 0)])
    number = np.bincount(piece, minlength=len(scores))
    with np.errstate(divide="ignore"):
        gain = np.bincount(piece, weights=np.log(frequency[parts] + frequency[piece]), minlength=len(scores))
        log_frequency = np.log(frequency)
    log_total = np.log(total + frequency * np.maximum(number - 1, 0))
    candidates = np.unique(piece)
    loss = (log_frequency - np.log(total) - gain + number * log_total)[candidates] * frequency[candidates]
    order = np.lexsort((candidates, -np.round(loss, 6)))  # equal losses: the better seed stays
    characters = ids[single[ids]]
    return np.sort(np.concatenate([characters, candidates[order][: max(size - len(characters), 0)]]))


class _Lattice:
    """All ways to cut each of some words into pieces, as edges between character positions (nodes).

    Edges lie sorted by their end's distance from the beginning of the word, so that one numpy call advances
    all words by one position.
    """

    def __init__(self, words: list[str], pieces: dict[str, int], whole: bool):
        """`whole`: whether a word may be one piece."""
        from array import array

        lengths = np.array([len(word) for word in words], dtype=np.int64)
        self.first = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])  # node at the beginning of each word
        self.last = self.first + lengths
        longest = max(map(len, pieces))
        edges = {name: array("i") for name in ("word", "start", "length", "piece")}
        add_word, add_start, add_length, add_piece = (edge.append for edge in edges.values())
        for index, word in enumerate(words):
            size = len(word)
            for start in range(size):
                for end in range(start + 1, min(start + longest, size) + 1):
                    piece = pieces.get(word[start:end])
                    if piece is not None and (whole or end - start < size or size == 1):
                        add_word(index), add_start(start), add_length(end - start), add_piece(piece)
        word, start, length, piece = (np.frombuffer(edge, dtype=np.int32) for edge in edges.values())
        order = np.lexsort((word, start + length))
        self.word, self.piece = word[order], piece[order]
        self.start = (self.first[word] + start)[order].astype(np.int32)
        self.end = self.start + length[order]  # all (edges,), int32
        self.backward = np.lexsort((self.word, self.first[self.word] - self.start)).astype(np.int32)
        self._index()

    def drop(self, scores: np.ndarray) -> None:
        """Forget the edges of the pieces whose score is -inf."""
        keep = np.isfinite(scores)[self.piece]
        if keep.all():
            return
        position = np.cumsum(keep, dtype=np.int32) - 1
        self.backward = position[self.backward[keep[self.backward]]]
        self.word, self.piece = self.word[keep], self.piece[keep]
        self.start, self.end = self.start[keep], self.end[keep]
        self._index()

    def _index(self) -> None:
        self.forward_levels = _levels(self.end, self.end - self.first[self.word])
        starts = self.start[self.backward]
        self.backward_levels = _levels(starts, starts - self.first[self.word[self.backward]])

    def expected_counts(self, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """How often each piece occurs in all cuts of all words, weighted by their probabilities (E step)."""
        weights = scores[self.piece]
        alpha = np.zeros(self.last[-1] + 1)  # log probability of all ways from the beginning to a node
        for edges, groups, nodes in self.forward_levels:
            alpha[nodes] = np.logaddexp.reduceat(alpha[self.start[edges]] + weights[edges], groups)
        beta = np.zeros_like(alpha)  # and from a node to the end
        for edges, groups, nodes in self.backward_levels:
            edges = self.backward[edges]
            beta[nodes] = np.logaddexp.reduceat(beta[self.end[edges]] + weights[edges], groups)
        share = alpha[self.start] + weights + beta[self.end] - alpha[self.last[self.word]]
        return np.bincount(self.piece, weights=np.exp(share) * counts[self.word], minlength=len(scores))

    def best_paths(self, scores: np.ndarray, only: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest cut of each word (of the words `only`): an entry (word, piece) per piece."""
        weights = scores[self.piece]
        alpha, best = np.zeros(self.last[-1] + 1), np.zeros(self.last[-1] + 1, dtype=np.int64)
        for edges, groups, nodes in self.forward_levels:
            values = alpha[self.start[edges]] + weights[edges]
            alpha[nodes] = np.maximum.reduceat(values, groups)
            is_best = values == np.repeat(alpha[nodes], np.diff(groups, append=len(values)))
            number = np.where(is_best, np.arange(edges.start, edges.stop), len(self.piece))
            best[nodes] = np.minimum.reduceat(number, groups)  # of equals the first
        words = np.arange(len(self.first)) if only is None else only
        nodes, found = self.last[words], []
        while len(words):
            edges = best[nodes]
            found.append((words, self.piece[edges]))
            nodes = self.start[edges]
            inside = nodes > self.first[words]
            words, nodes = words[inside], nodes[inside]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True)) if found else (words, words)


def _levels(nodes: np.ndarray, distance: np.ndarray) -> list[tuple[slice, np.ndarray, np.ndarray]]:
    """For each run of equal distances: the slice of its edges, where each node's edges begin, the nodes."""
    if not len(nodes):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(distance)) + 1).tolist(), len(nodes)]
    levels = []
    for low, high in pairwise(cuts):
        groups = np.concatenate([[0], np.flatnonzero(np.diff(nodes[low:high])) + 1])
        levels.append((slice(low, high), groups, nodes[low:high][groups]))
    return levels
