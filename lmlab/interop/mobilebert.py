"""MobileBERT in the Hugging Face format (google/mobilebert-uncased).

A block's last feed-forward network has the names of BERT's only one; those before it are numbered.
"""

from collections.abc import Iterator
from typing import Any

from lmlab.interop.bert import EMBEDDINGS, IGNORED, KEYS, NO_DECODER, needs_segments
from lmlab.interop.family import ACTIVATIONS, Architecture, Config, Family, Key, Settings, refuse
from lmlab.interop.rules import Rules, Transposed, under

BLOCK = {
    "input": "bottleneck.input.dense",
    "input_norm": "bottleneck.input.LayerNorm",
    "block.attention.query_key_value": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "block.attention.query_key_value.bottleneck": "bottleneck.attention.dense",
    "block.attention.query_key_value.bottleneck_norm": "bottleneck.attention.LayerNorm",
    "block.attention.query_key_value.query_key": ("attention.self.query", "attention.self.key"),
    "block.attention.query_key_value.value": "attention.self.value",
    "block.attention.output": "attention.output.dense",
    "block.attention_norm": "attention.output.LayerNorm",
    "output": "output.bottleneck.dense",
    "output_norm": "output.bottleneck.LayerNorm",
}
EMBEDDING_EPS = 1e-5  # of the embeddings' layer normalisation


def feed_forwards(number: int) -> Rules:
    """Of the `number` feed-forward networks of a block; ours are the first and a list of the others."""
    rules: dict[str, str] = {}
    for index in range(number):
        ours = ("feed_forward", "feed_forward_norm")
        if index:
            ours = (f"more_feed_forwards.{index - 1}", f"more_feed_forward_norms.{index - 1}")
        theirs = f"ffn.{index}." if index < number - 1 else ""
        rules |= {
            f"block.{ours[0]}.expand": f"{theirs}intermediate.dense",
            f"block.{ours[0]}.contract": f"{theirs}output.dense",
            f"block.{ours[1]}": f"{theirs}output.LayerNorm",
        }
    return rules


def body(settings: Settings) -> Rules:
    """Of the network; what attention reads and the number of feed-forward networks decide which weights there are."""
    block = BLOCK | feed_forwards(settings["num_feed_forward"])
    return (
        under("embeddings", "mobilebert.embeddings", EMBEDDINGS)
        | {"embeddings.tokens.projection": "mobilebert.embeddings.embedding_transformation"}
        | under("stack.blocks.{i}", "mobilebert.encoder.layer.{i}", block)
    )


def uneven_norms(settings: Settings) -> Iterator[str]:
    """A reason against layer normalisations unlike that of the embeddings, whose epsilon cannot be chosen there."""
    if settings["norm"] == "layer_norm" and settings["norm_eps"] != EMBEDDING_EPS:
        yield f"model.norm_eps={settings['norm_eps']}: with layer_norm it must be {EMBEDDING_EPS}, as of the embeddings"


def read(config: Config, settings: dict[str, Any]) -> dict[str, Any]:
    """What attention reads."""
    refuse(uneven_norms(settings))
    if config.get("use_bottleneck_attention", False):
        return settings | {"attention_input": "bottleneck"}
    is_shared = config.get("key_query_shared_bottleneck", True)
    return settings | {"attention_input": "split" if is_shared else "hidden"}


def write(settings: Settings, config: dict[str, Any]) -> dict[str, Any]:
    """The config with what attention reads, and what the keys alone do not say."""
    return config | {
        "key_query_shared_bottleneck": settings["attention_input"] == "split",
        "use_bottleneck_attention": settings["attention_input"] == "bottleneck",
    }


def refuses(settings: Settings) -> Iterator[str]:
    """Reasons why the format cannot hold a model: each says what of it has no place."""
    yield from (*needs_segments(settings), *uneven_norms(settings))
    if settings["attention_input"] == "hidden" and settings["bottleneck_size"] != settings["hidden_size"]:
        yield "model.attention_input=hidden: attention must be as wide as what it reads, bottleneck_size as hidden_size"


VOCABULARY = {
    "transform.0": "cls.predictions.transform.dense",
    "transform.2": "cls.predictions.transform.LayerNorm",
    "more_columns": Transposed("cls.predictions.dense.weight"),
    "": "cls.predictions",
}
POOLER = {"0": "mobilebert.pooler.dense"}
PAIR_ANSWER = {"": "cls.seq_relationship"}
CLASSIFIER = {"": "classifier"}
TANH, NONE = {"pooler_activation": "tanh"}, {"pooler_activation": None}  # of the pooler, which a model may go without

FAMILY = Family(
    model_types=("mobilebert",),
    target="lmlab.models.mobilebert.MobileBert",
    prefix="mobilebert.",
    keys=KEYS
    | {
        "hidden_size": Key("hidden_size", 512),
        "embedding_size": Key("embedding_size", 128),
        "bottleneck_size": Key("intra_bottleneck_size", 128),
        "num_layers": Key("num_hidden_layers", 24),
        "num_heads": Key("num_attention_heads", 4),
        "intermediate_size": Key("intermediate_size", 512),
        "num_feed_forward": Key("num_feedforward_networks", 4),
        "trigram": Key("trigram_input", True),
        "activation": Key("hidden_act", "relu", ACTIVATIONS),
        "norm": Key("normalization_type", "no_norm", {"no_norm": "no_norm", "layer_norm": "layer_norm"}),
        "dropout": Key("hidden_dropout_prob", 0.0),
        "pooler_activation": Key("classifier_activation", True, {True: "tanh", False: None}),
    },
    body=body,
    architectures=(
        Architecture(
            "MobileBertForPreTraining",
            "mlm_nsp",
            {"vocabulary": VOCABULARY, "pooler": POOLER, "pair_answer": PAIR_ANSWER},
            fixed=TANH,
        ),
        Architecture(
            "MobileBertForPreTraining", "mlm_nsp", {"vocabulary": VOCABULARY, "pair_answer": PAIR_ANSWER}, fixed=NONE
        ),
        Architecture("MobileBertForMaskedLM", "mlm", {"vocabulary": VOCABULARY}),
        Architecture(
            "MobileBertForNextSentencePrediction", "nsp", {"pooler": POOLER, "pair_answer": PAIR_ANSWER}, fixed=TANH
        ),
        Architecture("MobileBertForNextSentencePrediction", "nsp", {"pair_answer": PAIR_ANSWER}, fixed=NONE),
        Architecture("MobileBertModel", "mlm", {"pooler": POOLER}, fixed=TANH),
        Architecture("MobileBertModel", "mlm", {}, fixed=NONE),
        Architecture(
            "MobileBertForSequenceClassification",
            "classification",
            {"pooler": POOLER, "output": CLASSIFIER},
            fixed=TANH,
        ),
        Architecture("MobileBertForSequenceClassification", "classification", {"output": CLASSIFIER}, fixed=NONE),
        Architecture("MobileBertForTokenClassification", "tagging", {"output": CLASSIFIER}),
        Architecture("MobileBertForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}),
        Architecture(
            "MobileBertForMultipleChoice",
            "choice",
            {"pooler": POOLER, "output": CLASSIFIER},
            fixed=TANH,
        ),
        Architecture("MobileBertForMultipleChoice", "choice", {"output": CLASSIFIER}, fixed=NONE),
    ),
    copies={
        "cls.predictions.decoder.weight": "mobilebert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    ignored=IGNORED,
    theirs=NO_DECODER | {"use_bottleneck": True},
    reads=read,
    writes=write,
    refuses=refuses,
)
