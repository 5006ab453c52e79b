"""The ways to get a tokenizer: train WordPiece, BPE, Unigram, characters or bytes, or load a published one.

Training is deterministic: the same documents and settings give the same bytes of `tokenizer.json`, whatever
the hash seed and the number of threads. The package's trainers alone do not promise that for WordPiece and
Unigram, so here WordPiece fixes the ids of all characters beforehand and Unigram has its own (`unigram.py`).
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from lmlab.errors import UserError
from lmlab.files import from_hub
from lmlab.text.published import HOW_TO_SAVE, load_published
from lmlab.text.tokenizer import Tokenizer
from lmlab.text.unigram import learn_pieces, unigram_normalizer, unigram_pre_tokenizer
from lmlab.text.words import count_words, frequent_characters, frequent_first, limited, repeated, split_long

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # ids 0 to 4 of every tokenizer trained here


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


@dataclass
class WordPiece(TokenizerTrainer):
    """WordPiece (Schuster & Nakajima, 2012) by BERT's rules (arXiv:1810.04805).

    Words and punctuation are apart; within a word the longest known piece comes first.

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

    vocab_size: int = 8192
    lowercase: bool = True
    strip_accents: bool | None = None
    split_chinese: bool = True
    min_frequency: int = 2
    character_coverage: float = 0.99999
    num_sentinels: int = 100
    max_characters: int = 200_000_000

    def train(self, documents: Iterable[str]) -> Tokenizer:
        backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        backend.normalizer = normalizers.BertNormalizer(
            lowercase=self.lowercase, strip_accents=self.strip_accents, handle_chinese_chars=self.split_chinese
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
        words = count_words(limited(documents, self.max_characters), backend)
        backend.model = models.WordPiece(self._vocabulary(words), unk_token="[UNK]")
        return _finish(backend, self.num_sentinels)

    def _vocabulary(self, words: Mapping[str, int]) -> dict[str, int]:
        """Token -> id, learnt from `words`.

        The package numbers the characters inside words (`##x`) in the order of a hash table and breaks ties
        by these numbers (tokenizers#1794). Given as special tokens, in sorted order, they are fixed before.
        """
        alphabet = frequent_characters(words, self.character_coverage, self.lowercase)
        words = {word: times for word, times in words.items() if alphabet.issuperset(word)}
        inside = sorted({"##" + character for word in words for character in word[1:]})
        fixed = _special_tokens(self.num_sentinels) + sorted(alphabet) + inside
        _check_size(self.vocab_size, len(fixed), f"{len(alphabet)} characters at word starts and {len(inside)} inside")
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size, min_frequency=self.min_frequency, special_tokens=fixed, show_progress=False
        )
        learner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        learner.train_from_iterator(repeated(words), trainer)
        return learner.get_vocab(with_added_tokens=True)


@dataclass
class BPE(TokenizerTrainer):
    """Byte-pair encoding (arXiv:1508.07909) on bytes, as in GPT-2.

    Any text can be encoded, and decoding gives it back exactly.

    Args:
        vocab_size: size of the whole vocabulary; smaller where the text gives no more pieces.
        min_frequency: how often a pair of pieces must occur to be joined.
        num_sentinels: number of `<extra_id_*>` tokens.
        max_characters: how much text training reads at most.
    """

    vocab_size: int = 8192
    min_frequency: int = 2
    num_sentinels: int = 100
    max_characters: int = 200_000_000

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
        parts = (part for text in limited(documents, self.max_characters) for part in split_long(text, 100_000))
        backend.train_from_iterator(parts, trainer)
        return Tokenizer(backend)


@dataclass
class Unigram(TokenizerTrainer):
    """Unigram language model (arXiv:1804.10959) with `▁` for spaces, as in SentencePiece and T5.

    A word is cut into its likeliest pieces. Unlike in SentencePiece, letters and punctuation share no piece: a
    word is the same before any mark.

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

    vocab_size: int = 8192
    lowercase: bool = False
    character_coverage: float = 0.99999
    max_piece_length: int = 16
    seed_size: int = 100_000
    num_sentinels: int = 100
    max_characters: int = 200_000_000

    def train(self, documents: Iterable[str]) -> Tokenizer:
        backend = tokenizers.Tokenizer(models.Unigram())
        backend.normalizer = unigram_normalizer(self.lowercase)
        backend.pre_tokenizer = unigram_pre_tokenizer()
        backend.decoder = decoders.Metaspace(prepend_scheme="always")
        words = count_words(limited(documents, self.max_characters), backend)
        alphabet = frequent_characters(words, self.character_coverage, self.lowercase)
        specials = _special_tokens(self.num_sentinels)
        _check_size(self.vocab_size, len(specials) + len(alphabet), f"{len(alphabet)} characters")
        pieces = learn_pieces(words, alphabet, self.vocab_size - len(specials), self.seed_size, self.max_piece_length)
        vocabulary = [(token, 0.0) for token in specials] + pieces  # split by the pattern, "[MASK]" never matches
        backend.model = models.Unigram(vocabulary, unk_id=SPECIAL_TOKENS.index("[UNK]"), byte_fallback=False)
        return _finish(backend, self.num_sentinels, takes_space=True)


@dataclass
class Char(TokenizerTrainer):
    """One token per character, line ends and spaces included: the alphabet of the corpus, in Unicode's order.

    Args:
        vocab_size: size that the vocabulary has at most; the rarest characters beyond it are [UNK].
        min_count: how often a character must occur; rarer ones are [UNK].
        num_sentinels: number of `<extra_id_*>` tokens.
        max_characters: how much text training reads at most.
    """

    vocab_size: int = 8192
    min_count: int = 1
    num_sentinels: int = 100
    max_characters: int = 200_000_000

    def train(self, documents: Iterable[str]) -> Tokenizer:
        counts: Counter[str] = Counter()
        for text in limited(documents, self.max_characters):
            counts.update(text)
        specials = _special_tokens(self.num_sentinels)
        _check_size(self.vocab_size, len(specials) + 1, "at least one character")
        frequent = [character for character in frequent_first(counts) if counts[character] >= self.min_count]
        characters = sorted(frequent[: self.vocab_size - len(specials)])
        return _finish(_without_merges(specials + characters, decoders.Fuse(), unk_token="[UNK]"), self.num_sentinels)


@dataclass
class Byte(TokenizerTrainer):
    """One token per byte of UTF-8, as in ByT5 (arXiv:2105.13626): needs no training, knows every text.

    Args:
        num_sentinels: number of `<extra_id_*>` tokens.
    """

    num_sentinels: int = 100
    needs_corpus = False

    def train(self, documents: Iterable[str] = ()) -> Tokenizer:
        backend = _without_merges(_special_tokens(self.num_sentinels) + _byte_characters(), decoders.ByteLevel())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return _finish(backend, self.num_sentinels)


@dataclass
class Pretrained(TokenizerTrainer):
    """A published tokenizer, from a `tokenizer.json`, from a folder that holds one, or from the hub.

    Args:
        path: file, folder or hub name (`bert-base-uncased`, `google/t5-v1_1-small`). With `HF_HUB_OFFLINE=1`
            a hub name is looked up in the local cache only.
        revision: branch, tag or commit on the hub; None: its main branch.
    """

    path: str | None = None
    revision: str | None = None
    needs_corpus = False

    def train(self, documents: Iterable[str] = ()) -> Tokenizer:
        """Load it; documents are not read.

        Raises:
            UserError: there is none of that name, or it is no tokenizer.
        """
        if not self.path:
            raise UserError("tokenizer=pretrained needs tokenizer.path: a tokenizer.json, its folder or a hub name")
        path = Path(self.path).expanduser()
        if path.is_dir():
            return load_published(path)
        if path.is_file():
            return Tokenizer.load(path)
        if path.parent.is_dir() and path.suffix == ".json":
            raise UserError(f"{path.parent} holds no {path.name}: {HOW_TO_SAVE.format(folder=path.parent)}")
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", self.path):
            raise UserError(f"tokenizer.path={self.path}: no such folder. {HOW_TO_SAVE.format(folder=self.path)}")
        return Tokenizer.load(_from_hub(self.path, self.revision))


def _from_hub(name: str, revision: str | None) -> Path:
    """Path of the tokenizer.json in the hub's cache, beside it the files that name its special tokens."""
    files = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
    folder, reason = from_hub(name, files, revision)
    if folder is not None and (folder / files[0]).is_file():
        return folder / files[0]
    raise UserError(
        f"tokenizer.path={name}: no such file or folder here, and no tokenizer.json of that name in the "
        f"hub's cache or on the hub ({reason or 'it has no such file'}). Without network, "
        f"{HOW_TO_SAVE.format(folder='a folder')} and give tokenizer.path that folder"
    )


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


def _special_tokens(num_sentinels: int) -> list[str]:
    return SPECIAL_TOKENS + [f"<extra_id_{number}>" for number in range(num_sentinels)]


def _added_tokens(names: list[str], takes_space: bool) -> list[AddedToken]:
    """Declare `names` special. `takes_space`: "a [MASK] b" has no token for the space before the mask,
    because the word that the mask hides would have carried it (as in RoBERTa).
    """
    hide_text = {name for name in names if takes_space and name.startswith(("[MASK]", "<extra_id_"))}
    return [AddedToken(name, special=True, normalized=False, lstrip=name in hide_text) for name in names]


def _finish(backend: tokenizers.Tokenizer, num_sentinels: int, takes_space: bool = False) -> Tokenizer:
    backend.add_special_tokens(_added_tokens(_special_tokens(num_sentinels), takes_space))
    return Tokenizer(backend)


def _without_merges(vocabulary: list[str], decoder: decoders.Decoder, **model: str) -> tokenizers.Tokenizer:
    """Byte-pair encoding without pairs: characters apart, at the speed of the package."""
    ids = {token: id for id, token in enumerate(vocabulary)}
    backend = tokenizers.Tokenizer(models.BPE(ids, merges=[], **model))
    backend.decoder = decoder
    return backend


def _byte_characters() -> list[str]:
    """The character that stands for each byte 0 to 255 in byte-level vocabularies (GPT-2's table)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = count(256)
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]


def _check_size(vocab_size: int, needed: int, of_which: str) -> None:
    if vocab_size < needed:
        raise UserError(
            f"tokenizer.vocab_size={vocab_size} is too small: special tokens, sentinels and {of_which} "
            f"already need {needed}. Raise tokenizer.vocab_size, or lower tokenizer.num_sentinels or, "
            "where the option has it, tokenizer.character_coverage"
        )
