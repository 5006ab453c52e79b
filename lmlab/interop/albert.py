"""ALBERT in the Hugging Face format (albert/albert-base-v2): layers of a group are kept once."""

from collections.abc import Iterator
from typing import Any

from lmlab.interop.bert import EMBEDDINGS, IGNORED, KEYS, NO_DECODER, TANH, TARGET, needs_segments
from lmlab.interop.family import ACTIVATIONS, Architecture, Config, Family, Key, Settings, refuse
from lmlab.interop.rules import under

LAYER = {
    "attention.query_key_value": ("attention.query", "attention.key", "attention.value"),
    "attention.output": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "feed_forward.expand": "ffn",
    "feed_forward.contract": "ffn_output",
    "feed_forward_norm": "full_layer_layer_norm",
}
VOCABULARY = {"transform.0": "predictions.dense", "transform.2": "predictions.LayerNorm", "": "predictions"}
POOLER = {"0": "albert.pooler"}


def needs_projection(settings: Settings) -> Iterator[str]:
    """A reason against embeddings as wide as the hidden states: we then have no projection, and the format has."""
    if settings["embedding_size"] == settings["hidden_size"]:
        yield "model.embedding_size is that of the hidden states, and a projection must lie between the two"


def read(config: Config, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as they are, if a model of ours can have them."""
    refuse(needs_projection(settings))
    return settings


def refuses(settings: Settings) -> Iterator[str]:
    """Reasons why the format cannot hold a model: each says what of it has no place."""
    yield from (*needs_segments(settings), *needs_projection(settings))
    if settings["num_groups"] is None:
        yield "model.num_groups=null: layers are shared in groups"


FAMILY = Family(
    model_types=("albert",),
    target=TARGET,
    prefix="albert.",
    keys=KEYS
    | {
        "vocab_size": Key("vocab_size", 30000),
        "hidden_size": Key("hidden_size", 4096),
        "embedding_size": Key("embedding_size", 128),
        "num_groups": Key("num_hidden_groups", 1),
        "num_heads": Key("num_attention_heads", 64),
        "intermediate_size": Key("intermediate_size", 16384),
        "activation": Key("hidden_act", "gelu_new", ACTIVATIONS),
        "dropout": Key("hidden_dropout_prob", 0.0),
        "attention_dropout": Key("attention_probs_dropout_prob", 0.0),
    },
    body=under("embeddings", "albert.embeddings", EMBEDDINGS)
    | {"embeddings.projection": "albert.encoder.embedding_hidden_mapping_in"}
    | under("stack.blocks.{i}", "albert.encoder.albert_layer_groups.{i}.albert_layers.0", LAYER),
    architectures=(
        Architecture(
            "AlbertForPreTraining",
            "mlm_sop",
            {"vocabulary": VOCABULARY, "pooler": POOLER, "pair_answer": {"": "sop_classifier.classifier"}},
            fixed=TANH,
        ),
        Architecture("AlbertForMaskedLM", "mlm", {"vocabulary": VOCABULARY}),
        Architecture("AlbertModel", "mlm", {"pooler": POOLER}, fixed=TANH),
        Architecture(
            "AlbertForSequenceClassification",
            "classification",
            {"pooler": POOLER, "output": {"": "classifier"}},
            fixed=TANH,
        ),
        Architecture("AlbertForTokenClassification", "tagging", {"output": {"": "classifier"}}),
        Architecture("AlbertForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}),
        Architecture(
            "AlbertForMultipleChoice",
            "choice",
            {"pooler": POOLER, "output": {"": "classifier"}},
            fixed=TANH,
        ),
    ),
    copies={
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    ignored=IGNORED,
    fixed={"pre_norm": False, "position_offset": 0},
    theirs=NO_DECODER | {"inner_group_num": 1},
    usual={"pooler_activation": "tanh"},
    reads=read,
    refuses=refuses,
)
