"""The tokenizer's files of a folder, such that transformers reads a text as the model was trained to read it."""

import json
from typing import Any

ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")


def tokenizer_files(
    tokenizer: Any, frame: tuple[int | None, int | None], has_segments: bool, max_length: int | None
) -> dict[str, str]:
    """File name -> content.

    Args:
        tokenizer: a `lmlab.text` tokenizer.
        frame: ids of the tokens that open a sequence and close each text of it; None: there is no such token.
        has_segments: the model tells a second text from the first.
        max_length: of a sequence; None: no limit.
    """
    names = {f"{role}_token": getattr(tokenizer, f"{role}_id") for role in ROLES}
    names = {name: tokenizer.token(id) for name, id in names.items() if id is not None}
    content = json.loads(tokenizer.json) | {"post_processor": _framing(tokenizer, *frame)}
    inputs = ["input_ids", *(["token_type_ids"] if has_segments else []), "attention_mask"]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # which takes tokenizer.json as it is
        "model_input_names": inputs,
        "clean_up_tokenization_spaces": False,
        **({} if max_length is None else {"model_max_length": max_length}),
        **names,
    }
    return {
        "tokenizer.json": json.dumps(content, ensure_ascii=False, indent=2),
        "tokenizer_config.json": json.dumps(config, ensure_ascii=False, indent=2) + "\n",
        "special_tokens_map.json": json.dumps(names, ensure_ascii=False, indent=2) + "\n",
    }


def _framing(tokenizer: Any, start: int | None, end: int | None) -> dict[str, Any] | None:
    """The part of a tokenizer.json that puts special tokens around one text, or around two."""
    ids = {tokenizer.token(id): id for id in (start, end) if id is not None}
    if not ids:
        return None

    def special(id: int | None, segment: int) -> list[dict]:
        return [] if id is None else [{"SpecialToken": {"id": tokenizer.token(id), "type_id": segment}}]

    more = tokenizer.separators_between - 1

    def text(name: str, segment: int) -> list[dict]:
        return [{"Sequence": {"id": name, "type_id": segment}}, *special(end, segment)]

    return {
        "type": "TemplateProcessing",
        "single": [*special(start, 0), *text("A", 0)],
        "pair": [*special(start, 0), *text("A", 0), *special(end, 0) * more, *text("B", 1)],
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in ids.items()},
    }
