"""Tokenizers as published models keep them: a tokenizer.json, or the older files that say the same."""

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from lmlab.errors import UserError
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
    tokenizer = Tokenizer(backend, roles_beside(folder / "tokenizer.json"))
    names = [tokenizer.token(id) for id in sorted(tokenizer.special_ids)]
    mask = tokenizer.roles.get("mask")  # RoBERTa's takes the space before it, which the word that it hides would have
    backend.add_special_tokens([AddedToken(name, lstrip=name == mask == "<mask>", normalized=False) for name in names])
    return Tokenizer(backend, tokenizer.roles)


def _word_piece(path: Path, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """BERT's, by the rules of google-research/bert."""
    words = path.read_text("utf-8").splitlines()
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
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _no_tokenizer(folder: Path) -> str:
    how = HOW_TO_SAVE.format(folder=folder)
    if found := [name for name in SENTENCEPIECE if (folder / name).is_file()]:
        return f"{folder} holds its tokenizer as {found[0]} (SentencePiece) only, which cannot be read: {how}"
    return f"{folder} holds no tokenizer.json: {how}"
