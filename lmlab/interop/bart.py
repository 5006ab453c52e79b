"""BART in the Hugging Face format (facebook/bart-base): two rows before the first position's."""

from typing import Any

from lmlab.interop.family import ACTIVATIONS, Architecture, Config, Family, Key, Settings
from lmlab.interop.rules import Rules, under

AGAIN = {"formulation.decoder_input": "text"}  # the decoder reads the text again


def attention(ours: str, theirs: str) -> Rules:
    """Of one attention layer and the normalisation after it."""
    packed = (f"{theirs}.q_proj", f"{theirs}.k_proj", f"{theirs}.v_proj")
    return {
        f"{ours}.query_key_value": packed,
        f"{ours}.output": f"{theirs}.out_proj",
        f"{ours}_norm": f"{theirs}_layer_norm",
    }


LAYER = attention("attention", "self_attn") | {
    "feed_forward.expand": "fc1",
    "feed_forward.contract": "fc2",
    "feed_forward_norm": "final_layer_norm",
}


def read(config: Config, settings: dict[str, Any]) -> dict[str, Any]:
    """The token that starts the decoder."""
    return settings | {"eos_id": config.get("decoder_start_token_id", 2)}


def write(settings: Settings, config: dict[str, Any]) -> dict[str, Any]:
    """The config with what the keys alone do not say."""
    return config | {
        "activation_dropout": 0.0,
        "scale_embedding": False,
        "is_encoder_decoder": True,
        "forced_eos_token_id": None,
    }


FAMILY = Family(
    model_types=("bart",),
    target="lmlab.models.bart.Bart",
    prefix="model.",
    keys={
        "vocab_size": Key("vocab_size", 50265),
        "hidden_size": Key("d_model", 1024),
        "num_layers": Key("encoder_layers", 12),
        "num_decoder_layers": Key("decoder_layers", 12),
        "num_heads": Key("encoder_attention_heads", 16, also=("decoder_attention_heads",)),
        "intermediate_size": Key("encoder_ffn_dim", 4096, also=("decoder_ffn_dim",)),
        "max_positions": Key("max_position_embeddings", 1024),
        "activation": Key("activation_function", "gelu", ACTIVATIONS),
        "dropout": Key("dropout", 0.1),
        "attention_dropout": Key("attention_dropout", 0.0),
        "init_std": Key("init_std", 0.02),
    },
    body={
        "input_embeddings.tokens": "model.shared",
        "input_embeddings.positions": "model.encoder.embed_positions",
        "input_embeddings.norm": "model.encoder.layernorm_embedding",
        "output_embeddings.positions": "model.decoder.embed_positions",
        "output_embeddings.norm": "model.decoder.layernorm_embedding",
    }
    | under("encoder.blocks.{i}", "model.encoder.layers.{i}", LAYER)
    | under("decoder.blocks.{i}", "model.decoder.layers.{i}", LAYER | attention("cross_attention", "encoder_attn")),
    architectures=(
        Architecture("BartForConditionalGeneration", "denoising", {"vocabulary": {}}),
        Architecture("BartModel", "denoising", {}),
        Architecture(
            "BartForSequenceClassification",
            "classification",
            {"pooler": {"0": "classification_head.dense"}, "output": {"": "classification_head.out_proj"}},
            fixed=AGAIN,
        ),
        Architecture("BartForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}, fixed=AGAIN),
    ),
    copies={
        "model.encoder.embed_tokens.weight": "model.shared.weight",
        "model.decoder.embed_tokens.weight": "model.shared.weight",
        "lm_head.weight": "model.shared.weight",
    },
    ignored=(r"model\.(encoder|decoder)\.version",),
    zeros=("final_logits_bias",),
    fixed={"pre_norm": False, "num_groups": None, "norm_eps": 1e-5},
    theirs={"scale_embedding": False},
    offset=lambda pad_id: 2,
    reads=read,
    writes=write,
)
