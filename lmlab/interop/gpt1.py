"""GPT-1 in the Hugging Face format (openai-community/openai-gpt): GPT-2's blocks, which normalise the residual sums."""

from collections.abc import Iterator

from lmlab.interop.family import Architecture, Family, Key, Settings
from lmlab.interop.gpt2 import BLOCK, BUFFERS, SIZES, TARGET, plain
from lmlab.interop.rules import under


def refuses(settings: Settings) -> Iterator[str]:
    """Reasons why the format cannot hold a model: each says what of it has no place."""
    yield from plain(settings)
    if settings["intermediate_size"] not in (None, 4 * settings["hidden_size"]):
        yield f"model.intermediate_size={settings['intermediate_size']}: it must be 4 * hidden_size"


FAMILY = Family(
    model_types=("openai-gpt",),
    target=TARGET,
    prefix="transformer.",
    keys=SIZES
    | {
        "vocab_size": Key("vocab_size", 40478),
        "max_positions": Key("n_positions", 512),
        "activation": Key("afn", "gelu", {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}),
    },
    body={"embeddings.tokens": "transformer.tokens_embed", "embeddings.positions": "transformer.positions_embed"}
    | under("stack.blocks.{i}", "transformer.h.{i}", BLOCK),
    architectures=(
        Architecture("OpenAIGPTLMHeadModel", "causal_lm", {"vocabulary": {}}),
        Architecture("OpenAIGPTModel", "causal_lm", {}),
        Architecture("OpenAIGPTForSequenceClassification", "classification", {"output": {"": "score"}}),
    ),
    copies={"lm_head.weight": "transformer.tokens_embed.weight"},
    ignored=BUFFERS,
    fixed={"pre_norm": False},
    reads=lambda config, settings: settings | {"pre_norm": False},
    writes=lambda settings, config: config | {"embd_pdrop": settings["dropout"]},
    refuses=refuses,
)
