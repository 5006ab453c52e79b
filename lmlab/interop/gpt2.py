"""GPT-2 in the Hugging Face format (openai-community/gpt2); GPT-1 keeps its blocks as it does."""

from collections.abc import Iterator

from lmlab.interop.family import ACTIVATIONS, Architecture, Family, Key, Settings
from lmlab.interop.rules import Transposed, under

TARGET = "lmlab.models.gpt.Gpt"

BLOCK = {
    "attention_norm": "ln_1",
    "attention.query_key_value": Transposed("attn.c_attn"),
    "attention.output": Transposed("attn.c_proj"),
    "feed_forward_norm": "ln_2",
    "feed_forward.expand": Transposed("mlp.c_fc"),
    "feed_forward.contract": Transposed("mlp.c_proj"),
}
SIZES = {
    "hidden_size": Key("n_embd", 768),
    "num_layers": Key("n_layer", 12),
    "num_heads": Key("n_head", 12),
    "dropout": Key("resid_pdrop", 0.1),
    "attention_dropout": Key("attn_pdrop", 0.1),
    "norm_eps": Key("layer_norm_epsilon", 1e-5),
    "init_std": Key("initializer_range", 0.02),
}
BUFFERS = (r"transformer\.h\.\d+\.attn\.(bias|masked_bias)",)


def plain(settings: Settings) -> Iterator[str]:
    """Reasons against what neither GPT-1 nor GPT-2 has."""
    if settings["embedding_size"] != settings["hidden_size"]:
        yield f"model.embedding_size={settings['embedding_size']}: embeddings must be as wide as hidden_size"
    for name in ("num_groups", "local_window"):
        if settings[name] is not None:
            yield f"model.{name}={settings[name]}: there is nothing like it"


FAMILY = Family(
    model_types=("gpt2",),
    target=TARGET,
    prefix="transformer.",
    keys=SIZES
    | {
        "vocab_size": Key("vocab_size", 50257),
        "intermediate_size": Key("n_inner", None),
        "max_positions": Key("n_positions", 1024),
        "activation": Key("activation_function", "gelu_new", ACTIVATIONS),
    },
    body={
        "embeddings.tokens": "transformer.wte",
        "embeddings.positions": "transformer.wpe",
        "stack.final_norm": "transformer.ln_f",
    }
    | under("stack.blocks.{i}", "transformer.h.{i}", BLOCK),
    architectures=(
        Architecture("GPT2LMHeadModel", "causal_lm", {"vocabulary": {}}),
        Architecture("GPT2Model", "causal_lm", {}),
        Architecture("GPT2ForSequenceClassification", "classification", {"output": {"": "score"}}),
        Architecture("GPT2ForTokenClassification", "tagging", {"output": {"": "classifier"}}),
        Architecture("GPT2ForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}),
    ),
    copies={"lm_head.weight": "transformer.wte.weight"},
    ignored=BUFFERS,
    fixed={"pre_norm": True},
    theirs={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False},
    writes=lambda settings, config: config | {"embd_pdrop": settings["dropout"]},
    refuses=plain,
)
