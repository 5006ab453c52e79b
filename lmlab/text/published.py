"""Tokenizers as published models keep them: a tokenizer.json, or the older files that say the same."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from lmlab.errors import UserError
from lmlab.files import read_json_object
from lmlab.text.tokenizer import Tokenizer, roles_beside

SENTENCEPIECE = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
WORD_END = "</w>"  # behind the last piece of a word: GPT-1
HOW_TO_SAVE = (
    "put a tokenizer.json into {folder}, for example by transformers' "
    'AutoTokenizer.from_pretrained("<name>").save_pretrained("{folder}")'
)


def load_published(folder: Path) -> Tokenizer:
    """The tokenizer of a folder: tokenizer.json, else BERT's vocab.txt, else vocab.json with merges.txt.

    Raises:
        UserError: there is none, it cannot be read, or it is kept by SentencePiece alone.
    """
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.load(folder / "tokenizer.json")
    backend = None
    if (folder / "vocab.txt").is_file():
        backend = _word_piece(folder / "vocab.txt", _settings(folder))
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        backend = _byte_pairs(folder, _settings(folder))
    if backend is None:
        raise UserError(_no_tokenizer(folder))
    given = roles_beside(folder / "tokenizer.json")
    tokenizer = Tokenizer(backend, given)
    names = [tokenizer.token(id) for id in sorted(tokenizer.special_ids)]
    mask = tokenizer.roles.get("mask")  # RoBERTa's takes the space before it, which the word that it hides would have
    backend.add_special_tokens([AddedToken(name, lstrip=name == mask == "<mask>", normalized=False) for name in names])
    _add_tokens(backend, folder / "added_tokens.json", given.values())
    return Tokenizer(backend, tokenizer.roles | given)


def _word_piece(path: Path, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """BERT's, by the rules of google-research/bert."""
    try:
        words = path.read_text("utf-8").removesuffix("\n").split("\n")  # other ends of lines are tokens
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    backend = tokenizers.Tokenizer(models.WordPiece({word: id for id, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _byte_pairs(folder: Path, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """That of GPT-2, RoBERTa and BART over bytes, or GPT-1's over lowercase characters."""
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    try:
        vocabulary, merges = models.BPE.read_file(*files)
    except Exception as error:  # the package raises bare Exception
        raise UserError(f"{folder}: vocab.json and merges.txt cannot be read: {error}") from None
    if not vocabulary:
        raise UserError(f"{folder}: vocab.json holds no tokens")
    if any(token.endswith(WORD_END) for token in vocabulary):
        model = models.BPE(vocabulary, merges, unk_token="<unk>", end_of_word_suffix=WORD_END)
        backend = tokenizers.Tokenizer(model)
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.BPEDecoder(suffix=WORD_END)
        return backend
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=settings.get("add_prefix_space", False))
    backend.decoder = decoders.ByteLevel()
    return backend


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json_object(path) if path.is_file() else {}


def _add_tokens(backend: tokenizers.Tokenizer, path: Path, special: Collection[str]) -> None:
    """The tokens of added_tokens.json, each of which must have the next id, or have the one that it says already."""
    ids = read_json_object(path) if path.is_file() else {}
    if odd := [token for token, id in ids.items() if type(id) is not int]:
        raise UserError(f"{path}: the id of {odd[0]!r} must be a whole number, not {ids[odd[0]]!r}")
    for token in sorted(ids, key=ids.get):
        is_special = token in special
        backend.add_tokens([AddedToken(token, special=is_special, normalized=not is_special)])
        if (id := backend.token_to_id(token)) != ids[token]:
            raise UserError(f"{path}: {token!r} is to have the id {ids[token]}, and would have {id} after the others")


def _no_tokenizer(folder: Path) -> str:
    how = HOW_TO_SAVE.format(folder=folder)
    if found := [name for name in SENTENCEPIECE if (folder / name).is_file()]:
        return f"{folder} holds its tokenizer as {found[0]} (SentencePiece) only, which cannot be read: {how}"
    return f"{folder} holds no tokenizer.json: {how}"
