"""MobileBERT and its teacher: of the published size, made of parts that other families can use."""

from functools import partial

import pytest
import torch
from test_sizes import count, preset
from torch import nn
from torch.nn import functional as F

from lmlab.models.layers import vocabulary
from lmlab.models.layers.attention import Attention
from lmlab.models.layers.block import Block, Stack
from lmlab.models.layers.bottleneck import Bottleneck, SharedBottleneckProjection
from lmlab.models.layers.feed_forward import FeedForward
from lmlab.models.layers.norm import NoNorm
from lmlab.models.layers.trigram import TrigramEmbedding
from lmlab.models.mobilebert import MobileBert

V = 101  # tokens
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SETTINGS = {
    "mobilebert": {},
    "teacher": {"attention_input": "hidden", "norm": "layer_norm", "num_feed_forward": 1, "activation": "gelu"},
    "tiny, tokens alone": {"attention_input": "bottleneck", "num_feed_forward": 2, "trigram": False},
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomize(module: nn.Module) -> nn.Module:
    """Move every weight, norms and biases too, off its initial value, so that a swapped one shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def small(**settings) -> MobileBert:
    sizes = {"hidden_size": 32, "embedding_size": 12, "bottleneck_size": 16, "intermediate_size": 24}
    return MobileBert(V, num_layers=3, max_positions=24, **sizes | settings)


# --- published sizes ---


def test_the_published_mobilebert_has_its_number_of_parameters():
    model = preset("mobilebert_uncased", 30_522)
    with torch.device("meta"):
        assert count(model) == count(model, model.pooler()) == 24_581_888
        assert count(model, model.vocabulary_head()) == 36_596_538
        pooled = preset("mobilebert_uncased", 30_522, pooler_activation="tanh")
        assert count(pooled, pooled.pooler()) == 24_844_544


def test_the_teacher_has_the_number_of_parameters_of_its_definition():
    hidden, inner, wide, tokens, narrow = 512, 1024, 4096, 30_522, 128
    embeddings = tokens * narrow + (3 * narrow + 1) * hidden + (512 + 2) * hidden + 2 * hidden
    maps = (hidden + 1) * inner * 4 + (inner + 1) * inner  # into the block, to its three heads' parts, and their output
    feed_forward = (inner + 1) * wide + (wide + 1) * inner
    block = maps + feed_forward + (inner + 1) * hidden + 3 * 2 * inner + 2 * hidden
    assert count(preset("ib_bert_large", tokens)) == embeddings + 24 * block == 294_205_184  # "293M" in the paper


# --- what it computes ---


@pytest.mark.parametrize("name", SETTINGS)
def test_hidden_states_at_positions_are_rows_of_all_hidden_states(name):
    model, positions = randomize(small(**SETTINGS[name])), torch.tensor([0, 4, 8, 9, 17])
    ids, segments = torch.randint(0, V, (2, 9)), torch.randint(0, 2, (2, 9))
    rows = model(ids, segments).flatten(0, 1)[positions]
    torch.testing.assert_close(model(ids, segments, positions=positions), rows, **TOLERANCE)


@pytest.mark.parametrize("trigram", [True, False])
def test_padding_changes_nothing_but_what_the_last_token_reads_beside_it(trigram):
    model = randomize(small(trigram=trigram))
    ids, mask = torch.randint(8, V, (2, 9)), torch.arange(12).expand(2, -1) < 9
    longer = F.pad(ids, (0, 3), value=7)
    before = model(longer, attention_mask=mask)[:, :9]
    with torch.no_grad():
        model.embeddings.tokens.weight[7] = 0
    expected = model(ids)
    torch.testing.assert_close(model(longer, attention_mask=mask)[:, :9], expected)
    assert torch.allclose(before, expected, atol=1e-5) != trigram


def test_a_trigram_is_a_convolution_over_three_tokens():
    embedding, ids = TrigramEmbedding(V, 6, 10), torch.randint(0, V, (2, 7))
    kernel = embedding.projection.weight.view(10, 3, 6).flip(1).permute(0, 2, 1)  # ours reads the next token first
    vectors = F.embedding(ids, embedding.weight).transpose(1, 2)
    expected = F.conv1d(vectors, kernel, embedding.projection.bias, padding=1).transpose(1, 2)
    torch.testing.assert_close(embedding(ids), expected)


@pytest.mark.parametrize("max_logits", [2**25, 3 * V], ids=["one chunk", "chunks of three rows"])
def test_loss_over_the_vocabulary_and_its_gradients_equal_the_plain_ones(max_logits, monkeypatch):
    monkeypatch.setattr(vocabulary, "MAX_LOGITS", max_logits)
    model = randomize(small())
    head = randomize(model.vocabulary_head())
    hidden, labels = torch.randn(10, 32, requires_grad=True), torch.randint(0, V, (10,))
    tensors = {"hidden": hidden, **dict(head.named_parameters())}
    assert {"weight", "more_columns", "bias"} < tensors.keys() and head.weight is model.embeddings.tokens.weight
    matrix = torch.cat([head.weight, head.more_columns], dim=1)
    logits = head.transform(hidden) @ matrix.T + head.bias
    torch.testing.assert_close(head(hidden), logits)
    ours, expected = head.cross_entropy(hidden, labels), F.cross_entropy(logits, labels, reduction="sum")
    torch.testing.assert_close(ours, expected)
    own, other = (torch.autograd.grad(loss, list(tensors.values())) for loss in (ours, expected))
    for name, ours, theirs in zip(tensors, own, other, strict=True):
        torch.testing.assert_close(ours, theirs, msg=lambda told, name=name: f"{name}: {told}")
    loss, num_correct = head.score(hidden, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert num_correct == (logits.argmax(-1) == labels).sum()
    certain = torch.zeros(V).index_fill(0, torch.tensor([5]), 1e4)
    head.bias.data.copy_(certain)
    assert (head.sample(hidden) == 5).all()


@pytest.mark.parametrize("split", [True, False])
def test_bottlenecks_serve_a_decoder(split):
    """They hide the future, remember the past, and read an encoder, as the block inside them does."""

    def make_block(number: int) -> Bottleneck:
        projection = SharedBottleneckProjection(12, 8, 8, NoNorm) if split else None
        block = Block(
            attention=Attention(12 if split else 8, 2, head_size=4, output_size=8, query_key_value=projection),
            cross_attention=Attention(8, 2),
            feed_forward=FeedForward(8, 16),
            norm=partial(NoNorm, 8),
            dropout=0.0,
            pre_norm=False,
            more_feed_forwards=[FeedForward(8, 16)],
        )
        return Bottleneck(block, 12, 8, NoNorm, dropout=0.0, attend_hidden=split)

    stack = randomize(Stack(make_block, num_layers=2, causal=True))
    x, memory = torch.randn(2, 9, 12), torch.randn(2, 5, 8)
    expected = stack(x, memory=memory)
    other = torch.cat([x[:, :4], torch.randn(2, 5, 12)], dim=1)
    changed = (stack(other, memory=memory) != expected).any(-1)
    assert torch.equal(changed, (torch.arange(9) >= 4).expand(2, -1))
    assert not torch.allclose(stack(x, memory=memory + 1), expected)
    cache = stack.new_cache()
    pieces = [stack(piece, memory=memory, cache=cache) for piece in x.split([4, 1, 4], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"embedding_size": 32}, "embedding_size=32 must be below hidden_size=32"),
        ({"num_heads": 3}, "bottleneck_size=16 cannot be shared equally by num_heads=3"),
        ({"num_feed_forward": 0}, "num_feed_forward=0 must be at least 1"),
        ({"attention_input": "both"}, "attention_input='both' must be one of split, hidden, bottleneck"),
        ({"norm": "batch_norm"}, "norm='batch_norm' must be one of layer_norm, no_norm"),
    ],
)
def test_impossible_settings_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        small(**settings)
