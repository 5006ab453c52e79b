"""DistilBERT in the Hugging Face format (distilbert/distilbert-base-uncased): no segments, and no pooler of its own."""

from collections.abc import Iterator

from lmlab.interop.bert import IGNORED, TARGET, one_width
from lmlab.interop.family import ACTIVATIONS, Architecture, Family, Key, Settings
from lmlab.interop.rules import under

LAYER = {
    "attention.query_key_value": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attention.output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "feed_forward.expand": "ffn.lin1",
    "feed_forward.contract": "ffn.lin2",
    "feed_forward_norm": "output_layer_norm",
}
EMBEDDINGS = {"tokens": "word_embeddings", "positions": "position_embeddings", "norm": "LayerNorm"}
VOCABULARY = {"transform.0": "vocab_transform", "transform.2": "vocab_layer_norm", "": "vocab_projector"}


def refuses(settings: Settings) -> Iterator[str]:
    """Reasons why the format cannot hold a model: each says what of it has no place."""
    yield from one_width(settings)
    if settings["num_segments"]:
        yield f"model.num_segments={settings['num_segments']}: there are no segments"


FAMILY = Family(
    model_types=("distilbert",),
    target=TARGET,
    prefix="distilbert.",
    keys={
        "vocab_size": Key("vocab_size", 30522),
        "hidden_size": Key("dim", 768),
        "num_layers": Key("n_layers", 6),
        "num_heads": Key("n_heads", 12),
        "intermediate_size": Key("hidden_dim", 3072),
        "max_positions": Key("max_position_embeddings", 512),
        "activation": Key("activation", "gelu", ACTIVATIONS),
        "dropout": Key("dropout", 0.1),
        "attention_dropout": Key("attention_dropout", 0.1),
        "init_std": Key("initializer_range", 0.02),
    },
    body=under("embeddings", "distilbert.embeddings", EMBEDDINGS)
    | under("stack.blocks.{i}", "distilbert.transformer.layer.{i}", LAYER),
    architectures=(
        Architecture("DistilBertForMaskedLM", "mlm", {"vocabulary": VOCABULARY}),
        Architecture("DistilBertModel", "mlm", {}),
        Architecture(
            "DistilBertForSequenceClassification",
            "classification",
            {"pooler": {"0": "pre_classifier"}, "output": {"": "classifier"}},
            fixed={"pooler_activation": "relu"},
        ),
        Architecture("DistilBertForTokenClassification", "tagging", {"output": {"": "classifier"}}),
        Architecture("DistilBertForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}),
        Architecture(
            "DistilBertForMultipleChoice",
            "choice",
            {"pooler": {"0": "pre_classifier"}, "output": {"": "classifier"}},
            fixed={"pooler_activation": "relu"},
        ),
    ),
    copies={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
    ignored=IGNORED,
    fixed={"pre_norm": False, "position_offset": 0, "num_groups": None, "norm_eps": 1e-12},
    usual={"pooler_activation": "relu"},
    reads=lambda config, settings: settings | {"num_segments": 0, "pooler_activation": "relu"},
    refuses=refuses,
)
