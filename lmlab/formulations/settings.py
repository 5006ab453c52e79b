"""What formulations check alike in what they are given."""

from collections.abc import Sequence

from torch import nn

from lmlab.errors import UserError, nearest

LAYOUTS = ("encoder", "decoder", "encoder-decoder")
UNLIMITED = 512  # sequence length taken for a model without a limit when none is asked for
SHORTEST = 4  # tokens of a sequence that says anything, special ones included


def refuse_unknown(key: str, value: str, known: Sequence[str]) -> None:
    """Raise UserError for a word that a setting does not know."""
    if value not in known:
        hint = nearest(str(value), known)
        raise UserError(f"formulation.{key} must be one of {', '.join(known)}, not {value!r}{hint}")


def refuse_below_one(**settings: int | None) -> None:
    """Raise UserError for a count that is not positive; null is none."""
    for key, value in settings.items():
        if value is not None and value < 1:
            raise UserError(f"formulation.{key}={value} must be at least 1")


def refuse_unseen(model: nn.Module, sees_text_whole: bool) -> None:
    """Raise UserError for a decoder that is to read its text in both directions, and cannot."""
    if sees_text_whole and model.layout == "decoder" and not model.bidirectional_prefix:
        raise UserError(
            "formulation.sees_text_whole=true: this decoder reads all from left to right"
            " (model.bidirectional_prefix=false); take formulation.sees_text_whole=false, or a prefix LM"
        )


def sequence_length(asked: int | None, positions: int | None) -> int:
    """Tokens of a sequence: those that are asked for, or as many as a model has positions, at most `UNLIMITED`.

    Raises:
        UserError: they are more than the model's positions, or too few to say anything.
    """
    if asked is None:
        return min(positions or UNLIMITED, UNLIMITED)
    if positions is not None and asked > positions:
        raise UserError(
            f"formulation.max_length={asked} (seq_len) is beyond the model's positions; take at most {positions}"
        )
    if asked < SHORTEST:
        raise UserError(f"formulation.max_length={asked} leaves no room beside the special tokens")
    return asked
