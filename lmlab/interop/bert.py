"""BERT in the Hugging Face format (google-bert/bert-base-uncased); RoBERTa and ELECTRA keep their layers as it does."""

from collections.abc import Iterator

from lmlab.interop.family import ACTIVATIONS, Architecture, Family, Key, Settings
from lmlab.interop.rules import Rules, under

TARGET = "lmlab.models.bert.Bert"

KEYS = {
    "vocab_size": Key("vocab_size", 30522),
    "hidden_size": Key("hidden_size", 768),
    "num_layers": Key("num_hidden_layers", 12),
    "num_heads": Key("num_attention_heads", 12),
    "intermediate_size": Key("intermediate_size", 3072),
    "max_positions": Key("max_position_embeddings", 512),
    "num_segments": Key("type_vocab_size", 2),
    "activation": Key("hidden_act", "gelu", ACTIVATIONS),
    "dropout": Key("hidden_dropout_prob", 0.1),
    "attention_dropout": Key("attention_probs_dropout_prob", 0.1),
    "norm_eps": Key("layer_norm_eps", 1e-12),
    "init_std": Key("initializer_range", 0.02),
}

LAYER = {
    "attention.query_key_value": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.expand": "intermediate.dense",
    "feed_forward.contract": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}

EMBEDDINGS = {
    "tokens": "word_embeddings",
    "positions": "position_embeddings",
    "segments": "token_type_embeddings",
    "norm": "LayerNorm",
}

IGNORED = (r".*embeddings\.(position_ids|token_type_ids)",)
NO_DECODER = {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"}


def encoder(prefix: str) -> Rules:
    """Embeddings and layers under `prefix`."""
    return under("embeddings", f"{prefix}.embeddings", EMBEDDINGS) | under(
        "stack.blocks.{i}", prefix + ".encoder.layer.{i}", LAYER
    )


def needs_segments(settings: Settings) -> Iterator[str]:
    """A reason against models that tell no segments apart, not even one."""
    if not settings["num_segments"]:
        yield "model.num_segments=0: there must be at least one segment"


def one_width(settings: Settings) -> Iterator[str]:
    """A reason against embeddings of another width than the hidden states."""
    if settings["embedding_size"] != settings["hidden_size"]:
        yield f"model.embedding_size={settings['embedding_size']}: embeddings must be as wide as hidden_size"


VOCABULARY = {
    "transform.0": "cls.predictions.transform.dense",
    "transform.2": "cls.predictions.transform.LayerNorm",
    "": "cls.predictions",
}
POOLER = {"0": "bert.pooler.dense"}
PAIR_ANSWER = {"": "cls.seq_relationship"}
TANH = {"pooler_activation": "tanh"}

FAMILY = Family(
    model_types=("bert",),
    target=TARGET,
    prefix="bert.",
    keys=KEYS,
    body=encoder("bert"),
    architectures=(
        Architecture(
            "BertForPreTraining",
            "mlm_nsp",
            {"vocabulary": VOCABULARY, "pooler": POOLER, "pair_answer": PAIR_ANSWER},
            fixed=TANH,
        ),
        Architecture("BertForMaskedLM", "mlm", {"vocabulary": VOCABULARY}),
        Architecture(
            "BertForNextSentencePrediction", "nsp", {"pooler": POOLER, "pair_answer": PAIR_ANSWER}, fixed=TANH
        ),
        Architecture("BertModel", "mlm", {"pooler": POOLER}, fixed=TANH),
        Architecture(
            "BertForSequenceClassification",
            "classification",
            {"pooler": POOLER, "output": {"": "classifier"}},
            fixed=TANH,
        ),
        Architecture("BertForTokenClassification", "tagging", {"output": {"": "classifier"}}),
        Architecture("BertForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}),
        Architecture(
            "BertForMultipleChoice",
            "choice",
            {"pooler": POOLER, "output": {"": "classifier"}},
            fixed=TANH,
        ),
    ),
    copies={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    ignored=IGNORED,
    fixed={"pre_norm": False, "position_offset": 0, "num_groups": None},
    theirs=NO_DECODER,
    usual={"pooler_activation": "tanh"},
    refuses=lambda settings: iter((*needs_segments(settings), *one_width(settings))),
)
