"""T5 (google-t5/t5-small) and T5 v1.1 (google/t5-v1_1-small) in the Hugging Face format."""

from collections.abc import Iterator
from typing import Any

from lmlab.errors import UserError
from lmlab.interop.family import ACTIVATIONS, Architecture, Config, Family, Key, Settings
from lmlab.interop.rules import Rules, under

GATED = {"gelu": "gelu_tanh", "silu": "silu", "relu": "relu"}  # "gated-gelu" means the approximation by tanh

DECODER = r"decoder\."  # of classes that have the encoder alone

AGAIN = {"formulation.decoder_input": "text"}  # the decoder reads the text again


def attention(ours: str, theirs: str) -> Rules:
    """Of one attention layer."""
    packed = (f"{theirs}.q", f"{theirs}.k", f"{theirs}.v")
    return {f"{ours}.query_key_value": packed, f"{ours}.output": f"{theirs}.o"}


def block(feed_forward: int, gated: bool) -> Rules:
    """A block whose feed-forward network is its layer of the number `feed_forward`."""
    dense = f"layer.{feed_forward}.DenseReluDense"
    return attention("attention", "layer.0.SelfAttention") | {
        "attention_norm": "layer.0.layer_norm",
        "feed_forward.expand": f"{dense}.wi_0" if gated else f"{dense}.wi",
        "feed_forward.gate": f"{dense}.wi_1",
        "feed_forward.contract": f"{dense}.wo",
        "feed_forward_norm": f"layer.{feed_forward}.layer_norm",
    }


CROSS_ATTENTION = attention("cross_attention", "layer.1.EncDecAttention") | {
    "cross_attention_norm": "layer.1.layer_norm"
}


def body(settings: Settings) -> Rules:
    """Of the network; a gate gives the first map of the feed-forward network another name."""
    gated = settings["gated"]
    return (
        {
            "embeddings.tokens": "shared",
            "encoder_positions.scores": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
            "decoder_positions.scores": "decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
            "encoder.final_norm": "encoder.final_layer_norm",
            "decoder.final_norm": "decoder.final_layer_norm",
        }
        | under("encoder.blocks.{i}", "encoder.block.{i}", block(1, gated))
        | under("decoder.blocks.{i}", "decoder.block.{i}", block(2, gated) | CROSS_ATTENTION)
    )


def copies(settings: Settings) -> dict[str, str]:
    """The embedding under its other names."""
    names = ["encoder.embed_tokens", "decoder.embed_tokens", *(["lm_head"] if settings["tied"] else [])]
    return {f"{name}.weight": "shared.weight" for name in names}


def read(config: Config, settings: dict[str, Any]) -> dict[str, Any]:
    """`feed_forward_proj` says both the activation and whether there is a gate."""
    *gate, word = str(config.get("feed_forward_proj", "relu")).split("-")
    words = GATED if gate else ACTIVATIONS
    if gate not in ([], ["gated"]) or word not in words:
        known = ", ".join([*ACTIVATIONS, *(f"gated-{each}" for each in GATED)])
        raise UserError(f"config.json: feed_forward_proj={config['feed_forward_proj']!r} is not known; known: {known}")
    start_id = config.get("decoder_start_token_id")
    return settings | {
        "gated": bool(gate),
        "activation": words[word],
        "tied": config.get("scale_decoder_outputs", config.get("tie_word_embeddings") is not False),
        "pad_id": config.get("pad_token_id", 0) if start_id is None else start_id,
    }


def write(settings: Settings, config: dict[str, Any]) -> dict[str, Any]:
    """The other way round."""
    words = GATED if settings["gated"] else ACTIVATIONS
    word = next(word for word, meaning in words.items() if meaning == settings["activation"])
    return config | {
        "feed_forward_proj": f"gated-{word}" if settings["gated"] else word,
        "tie_word_embeddings": settings["tied"],
        "is_encoder_decoder": True,
    }


def refuses(settings: Settings) -> Iterator[str]:
    """A reason against an activation that the format has no word for."""
    if settings["activation"] not in (GATED if settings["gated"] else ACTIVATIONS).values():
        yield f"model.activation={settings['activation']} does not go with model.gated={settings['gated']}"


FAMILY = Family(
    model_types=("t5",),
    target="lmlab.models.t5.T5",
    keys={
        "vocab_size": Key("vocab_size", 32128),
        "hidden_size": Key("d_model", 512),
        "num_layers": Key("num_layers", 6),
        "num_decoder_layers": Key("num_decoder_layers", None),
        "num_heads": Key("num_heads", 8),
        "head_size": Key("d_kv", 64),
        "intermediate_size": Key("d_ff", 2048),
        "dropout": Key("dropout_rate", 0.1),
        "norm_eps": Key("layer_norm_epsilon", 1e-6),
        "num_buckets": Key("relative_attention_num_buckets", 32),
        "max_distance": Key("relative_attention_max_distance", 128),
    },
    body=body,
    architectures=(
        Architecture("T5ForConditionalGeneration", "span_corruption", {"vocabulary": {"": "lm_head"}}),
        Architecture("T5Model", "span_corruption", {}),
        Architecture("T5EncoderModel", "denoising", {}, without=DECODER),  # whose tokenizer may lack sentinels
        Architecture(
            "T5ForSequenceClassification",
            "classification",
            {"output": {"": "classification_head.out_proj"}},
            refused="its head has a dense layer below the last, which a T5 has not here",
        ),
        Architecture(
            "T5ForTokenClassification",
            "tagging",
            {"output": {"": "classifier"}},
            fixed={"formulation.decoder_input": "none"},
            wrapped="transformer.",
            without=DECODER,
        ),
        Architecture("T5ForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}, fixed=AGAIN),
    ),
    copies=copies,
    ignored=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",),
    fixed={"shared": False},
    reads=read,
    writes=write,
    refuses=refuses,
)
