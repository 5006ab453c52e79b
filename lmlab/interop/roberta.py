"""RoBERTa (FacebookAI/roberta-base) and XLM-R (FacebookAI/xlm-roberta-base) in the Hugging Face format.

BERT's layers. Positions are counted from the padding token's id plus one; one kind of segment.
"""

from collections.abc import Iterator
from typing import Any

from lmlab.interop.bert import IGNORED, KEYS, NO_DECODER, TANH, TARGET, encoder, needs_segments, one_width
from lmlab.interop.family import Architecture, Config, Family, Settings

VOCABULARY = {"transform.0": "lm_head.dense", "transform.2": "lm_head.layer_norm", "": "lm_head"}
POOLER = {"0": "roberta.pooler.dense"}


def offset(pad_id: int | None) -> int:
    """Rows before the first token's; the padding token's is among them."""
    return 1 if pad_id is None else pad_id + 1


def read(config: Config, settings: dict[str, Any]) -> dict[str, Any]:
    """The format counts the rows of the embedding, we count positions."""
    return settings | {"max_positions": settings["max_positions"] - settings["position_offset"]}


def write(settings: Settings, config: dict[str, Any]) -> dict[str, Any]:
    """The other way round."""
    return config | {"max_position_embeddings": settings["max_positions"] + offset(config["pad_token_id"])}


def refuses(settings: Settings) -> Iterator[str]:
    """Reasons why the format cannot hold a model: each says what of it has no place."""
    yield from (*needs_segments(settings), *one_width(settings))
    if not settings["position_offset"]:
        yield "model.position_offset=0: the padding token has a position of its own before the first"


FAMILY = Family(
    model_types=("roberta", "xlm-roberta"),
    target=TARGET,
    prefix="roberta.",
    keys=KEYS,
    body=encoder("roberta"),
    architectures=(
        Architecture("RobertaForMaskedLM", "mlm", {"vocabulary": VOCABULARY}, fixed={"activation": "gelu"}),
        Architecture("RobertaModel", "mlm", {"pooler": POOLER}, fixed=TANH),
        Architecture(
            "RobertaForSequenceClassification",
            "classification",
            {"pooler": {"0": "classifier.dense"}, "output": {"": "classifier.out_proj"}},
            fixed=TANH,
        ),
        Architecture("RobertaForTokenClassification", "tagging", {"output": {"": "classifier"}}),
        Architecture("RobertaForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}),
        Architecture(
            "RobertaForMultipleChoice",
            "choice",
            {"pooler": POOLER, "output": {"": "classifier"}},
            fixed=TANH,
        ),
    ),
    copies={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    ignored=IGNORED,
    fixed={"pre_norm": False, "num_groups": None},
    theirs=NO_DECODER,
    offset=offset,
    usual={"pooler_activation": "tanh"},
    reads=read,
    writes=write,
    refuses=refuses,
)
