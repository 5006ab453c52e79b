"""The parts of the networks against closed forms and plain formulas."""

import math

import pytest
import torch
from torch.nn import functional as F

from lmlab.models.bart import Bart
from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.layers import attention, vocabulary
from lmlab.models.layers.attention import attend
from lmlab.models.layers.banded import attend_in_pieces
from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.positions import relative_buckets
from lmlab.models.t5 import T5
from lmlab.models.t5_decoder import T5Decoder

# T5's buckets, 32 of them up to 128, as first distance of each: looking back in both directions, and causal.
BIDIRECTIONAL_STARTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
CAUSAL_STARTS = [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]


@pytest.mark.parametrize(("bidirectional", "starts"), [(True, BIDIRECTIONAL_STARTS), (False, CAUSAL_STARTS)])
def test_relative_buckets_are_those_of_t5(bidirectional, starts):
    distance = torch.arange(600)
    expected = (distance[:, None] >= torch.tensor(starts)).sum(1) - 1
    assert torch.equal(relative_buckets(-distance, 32, 128, bidirectional), expected)
    ahead = relative_buckets(distance[1:], 32, 128, bidirectional)
    assert torch.equal(ahead, expected[1:] + 16 if bidirectional else torch.zeros_like(ahead))


@pytest.mark.parametrize("p", [0.1, 0.5, 1 / 3])
def test_dropout_has_its_rate_and_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(1000, 1001, requires_grad=True)
    y = Dropout(p)(x)
    dropped = (y == 0).float().mean().item()
    assert abs(dropped - p) < 5 * math.sqrt(p * (1 - p) / y.numel())
    assert y.max().item() == pytest.approx(1 / (1 - p))
    columns = (y == 0).float().mean(0)  # no place is favoured
    assert (columns - p).abs().max() < 6 * math.sqrt(p * (1 - p) / 1000)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_dropout_is_repeatable_and_off_in_evaluation():
    x, dropout = torch.randn(7, 9), Dropout(0.5)
    torch.manual_seed(3)
    first = dropout(x)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(x))
    assert torch.equal(dropout.eval()(x), x)


def plain(q, k, v, bias):
    return torch.softmax(q @ k.transpose(-1, -2) + bias, -1) @ v


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_keys", [5, 1100])
def test_attention_without_gradients_equals_the_formula(num_keys, dtype):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, num_keys, 4) for _ in range(3))
    with torch.no_grad():
        ours = attend(q.to(dtype), k.to(dtype), v.to(dtype), None, causal=False, dropout=0.0)
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(ours.float(), plain(q, k, v, 0), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("num_queries", [1, 14])
@pytest.mark.parametrize("bias_shape", [(2, 1, 1), (1, 3, None), (2, 1, None)], ids=["keys", "heads", "rows"])
@pytest.mark.parametrize("num_keys", [14, 34, 64], ids=["padded", "nearly whole", "whole"])
def test_attention_without_gradients_adds_every_kind_of_bias(num_keys, bias_shape, num_queries):
    torch.manual_seed(0)
    q, (k, v) = torch.randn(2, 3, num_queries, 4), torch.randn(2, 2, 3, num_keys, 4)
    bias = torch.randn(*(size or num_queries for size in bias_shape), num_keys)
    bias[..., -2:] = torch.finfo(torch.bfloat16).min
    with torch.no_grad():
        ours = attend(*(x.bfloat16() for x in (q, k, v, bias)), causal=False, dropout=0.0)
    assert ours.shape == q.shape
    torch.testing.assert_close(ours.float(), plain(q, k, v, bias), rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("plain_up_to", [0, 256], ids=["fused kernel", "plain products"])
def test_attention_and_its_gradients_equal_the_formula(causal, plain_up_to, monkeypatch):
    monkeypatch.setattr(attention, "PLAIN_UP_TO", plain_up_to)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    bias = torch.randn(1, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    future = torch.full((5, 5), -math.inf, dtype=torch.float64).triu(1) if causal else 0
    ours, expected = attend(q, k, v, bias, causal, dropout=0.0), plain(q, k, v, bias + future)
    torch.testing.assert_close(ours, expected)
    weight = torch.randn_like(ours)
    tensors = (q, k, v, bias)
    for own, other in zip(
        torch.autograd.grad((ours * weight).sum(), tensors),
        torch.autograd.grad((expected * weight).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(own, other)


def test_attention_dropout_has_the_right_gradient():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))

    def same_noise(q, k, v):
        torch.manual_seed(1)
        return attend(q, k, v, None, False, dropout=0.4)

    assert torch.autograd.gradcheck(same_noise, (q, k, v))


@pytest.mark.parametrize("max_logits", [2**25, 3 * 23], ids=["one chunk", "chunks of three rows"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_vocabulary_cross_entropy_equals_the_plain_one(max_logits, with_bias, monkeypatch):
    monkeypatch.setattr(vocabulary, "MAX_LOGITS", max_logits)
    torch.manual_seed(0)
    head = vocabulary.VocabularyHead(torch.nn.Parameter(torch.randn(23, 6)), bias=with_bias, scale=0.5)
    hidden, labels = torch.randn(10, 6, requires_grad=True), torch.randint(0, 23, (10,))
    tensors = [hidden, *head.parameters()]
    ours = head.cross_entropy(hidden, labels) / 10
    expected = F.cross_entropy(head(hidden), labels)
    torch.testing.assert_close(ours, expected)
    for own, other in zip(torch.autograd.grad(ours, tensors), torch.autograd.grad(expected, tensors), strict=True):
        torch.testing.assert_close(own, other)
    loss, num_correct = head.score(hidden, labels)
    assert loss.item() / 10 == pytest.approx(expected.item())
    assert num_correct == (head(hidden).argmax(-1) == labels).sum()


@pytest.mark.parametrize("max_logits", [2**25, 1000 * 23], ids=["one chunk", "several chunks"])
def test_tokens_are_drawn_from_their_distribution(max_logits, monkeypatch):
    monkeypatch.setattr(vocabulary, "MAX_LOGITS", max_logits)
    torch.manual_seed(0)
    head = vocabulary.VocabularyHead(torch.nn.Parameter(torch.randn(23, 6)), bias=True)
    hidden, rows = torch.randn(2, 6), 20_000
    generator = torch.Generator().manual_seed(0)
    drawn = head.sample(hidden.repeat_interleave(rows, 0), generator).view(2, rows)
    expected = head(hidden).softmax(-1) * rows
    counts = torch.stack([row.bincount(minlength=23) for row in drawn])
    chi_square = ((counts - expected) ** 2 / expected).sum(1)
    assert (chi_square < 44).all()  # 22 degrees of freedom: one in 300 lies above
    again = head.sample(hidden.repeat_interleave(rows, 0), generator.manual_seed(0))
    assert torch.equal(again, drawn.flatten())


SMALL = {
    "bert": lambda: Bert(50, 16, 2, 2, 32, max_positions=12),
    "bert, narrow embeddings": lambda: Bert(50, 16, 2, 2, 32, max_positions=12, embedding_size=6),
    "bert, one group": lambda: Bert(50, 16, 2, 2, 32, max_positions=12, num_groups=1),
    "bert, no segments": lambda: Bert(50, 16, 2, 2, 32, max_positions=12, num_segments=0, position_offset=2),
    "gpt": lambda: Gpt(50, 16, 2, 2, max_positions=12),
    "gpt, local window": lambda: Gpt(50, 16, 2, 2, max_positions=12, local_window=3),
    "gpt, narrow embeddings": lambda: Gpt(50, 16, 2, 2, max_positions=12, embedding_size=6, num_groups=1),
    "t5": lambda: T5(50, 0, 16, 2, 2, 2, 8, 32),
    "t5_decoder": lambda: T5Decoder(50, 16, 2, 2, 8, 32),
    "bart": lambda: Bart(50, 1, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, max_positions=12),
}
DECODERS = ("gpt", "gpt, local window", "t5_decoder")


def small(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return SMALL[name]().eval()


def inputs_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(0, 50, (2, 9))
    if model.layout != "encoder-decoder":
        return {"input_ids": ids}
    return {"input_ids": torch.randint(0, 50, (2, 7)), "decoder_input_ids": ids}


@pytest.mark.parametrize("name", SMALL)
def test_hidden_states_at_positions_are_rows_of_all_hidden_states(name):
    model = small(name)
    inputs, positions = inputs_of(model), torch.tensor([0, 4, 8, 9, 17])
    rows = model(**inputs).reshape(-1, 16)[positions]
    torch.testing.assert_close(model(**inputs, positions=positions), rows)


@pytest.mark.parametrize("name", SMALL)
def test_padding_changes_nothing(name):
    model = small(name)
    inputs = inputs_of(model)
    expected = model(**inputs)
    width = inputs["input_ids"].shape[1]
    longer = inputs | {"input_ids": F.pad(inputs["input_ids"], (0, 3), value=7)}
    mask = torch.arange(width + 3).expand(2, -1) < width
    torch.testing.assert_close(model(**longer, attention_mask=mask)[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_padding_of_the_decoder_changes_nothing(name):
    model = small(name)
    inputs = inputs_of(model)
    expected = model(**inputs)
    longer = inputs | {"decoder_input_ids": F.pad(inputs["decoder_input_ids"], (0, 3), value=7)}
    mask = torch.arange(12).expand(2, -1) < 9
    torch.testing.assert_close(model(**longer, decoder_attention_mask=mask)[:, :9], expected)


def decoders(**options) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [
        Gpt(50, 16, 2, 2, max_positions=12, **options).eval(),
        T5Decoder(50, 16, 2, 2, 8, 32, **options).eval(),
    ]


IDS = torch.arange(18).view(2, 9)
PREFIX = torch.arange(9) < torch.tensor([[4], [6]])


@pytest.mark.parametrize("case", range(2), ids=["gpt", "t5_decoder"])
@pytest.mark.parametrize("bidirectional", [True, False], ids=["prefix LM", "LM"])
def test_what_a_decoder_sees(case, bidirectional):
    model = decoders(bidirectional_prefix=bidirectional)[case]
    before = model(IDS, prefix_mask=PREFIX)
    for changed in range(9):
        other = IDS.clone()
        other[:, changed] += 20
        reads = (model(other, prefix_mask=PREFIX) != before).any(-1)  # (B, T): who notices
        expected = torch.arange(9) >= changed
        if bidirectional:
            expected = expected | PREFIX[:, changed, None]
        assert torch.equal(reads, expected.expand(2, -1))
    if not bidirectional:
        assert torch.equal(before, model(IDS))


@pytest.mark.parametrize("case", range(2), ids=["gpt", "t5_decoder"])
def test_a_prefix_lm_is_the_same_blocks_under_a_mask_written_out(case):
    model = decoders()[case]
    visible = torch.tensor([[[s <= t or PREFIX[b, s] for s in range(9)] for t in range(9)] for b in range(2)])
    bias = torch.zeros(2, 1, 9, 9).masked_fill(~visible[:, None], -math.inf)
    if case == 0:
        x = model.embed(IDS, 0)
    else:
        x = model.embed(IDS, 0)
        distance = torch.arange(9)[None, :] - torch.arange(9)[:, None]
        bias = bias + model.positions.scores(relative_buckets(distance, 32, 128, bidirectional=True)).permute(2, 0, 1)
    for block in model.stack.blocks:
        x = block(x, bias)
    torch.testing.assert_close(model(IDS, prefix_mask=PREFIX), model.stack.final_norm(x))


def test_shared_blocks_are_an_encoder_and_a_decoder_with_equal_weights():
    torch.manual_seed(0)
    shared = T5(50, 0, 16, 2, None, 2, 8, 32, shared=True, dropout=0.0)
    apart = T5(50, 0, 16, 2, None, 2, 8, 32, dropout=0.0)
    apart.load_state_dict(shared.state_dict())  # which names a shared weight on both sides
    cross_attention = 2 * (4 * 16 * 2 * 8 + 16)  # with its norm, in two blocks
    decoder = sum(weight.numel() for weight in apart.decoder.blocks.parameters())
    ours, theirs = (sum(weight.numel() for weight in model.parameters()) for model in (shared, apart))
    assert theirs - ours == decoder - cross_attention == 2 * (4 * 16 * 2 * 8 + 2 * 16 * 32 + 2 * 16)
    inputs = {"input_ids": torch.arange(14).view(2, 7), "decoder_input_ids": IDS}
    gradients = []
    for model in (shared, apart):
        hidden = model(**inputs)
        hidden.square().sum().backward()
        gradients.append((hidden, model))
    torch.testing.assert_close(*(hidden for hidden, _ in gradients))
    together = shared.encoder.blocks[0].feed_forward.expand.weight.grad
    parts = [stack.blocks[0].feed_forward.expand.weight.grad for stack in (apart.encoder, apart.decoder)]
    torch.testing.assert_close(together, parts[0] + parts[1])
    with pytest.raises(ValueError, match="as deep as the encoder"):
        T5(50, 0, 16, 2, 3, 2, 8, 32, shared=True)


@pytest.mark.parametrize("name", [*DECODERS, "t5", "bart"])
def test_a_cache_changes_nothing(name):
    model = small(name)
    inputs = inputs_of(model)
    expected, cache = model(**inputs), model.new_cache()
    if model.layout == "decoder":
        pieces = [model(piece, cache=cache) for piece in inputs["input_ids"].split([4, 1, 4], dim=1)]
    else:
        memory = model.encode(inputs["input_ids"])
        pieces = [model.decode(p, memory, cache=cache) for p in inputs["decoder_input_ids"].split([4, 1, 4], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected)


@pytest.mark.parametrize("length", [5, 8, 9, 23])
@pytest.mark.parametrize("window", [1, 4, 8])
def test_attention_in_pieces_is_full_attention_under_a_band(length, window):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    band = torch.zeros(length, length, dtype=torch.float64)
    band.masked_fill_((distance < 0) | (distance >= window), -math.inf)
    ours, expected = attend_in_pieces(q, k, v, window, dropout=0.0), plain(q, k, v, band)
    torch.testing.assert_close(ours, expected)
    weight = torch.randn_like(ours)
    for own, other in zip(
        torch.autograd.grad((ours * weight).sum(), (q, k, v)),
        torch.autograd.grad((expected * weight).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(own, other)


def test_a_local_window_hides_what_is_far_from_every_second_layer():
    model = small("gpt, local window")
    for changed in range(9):
        other = IDS.clone()
        other[:, changed] += 20
        states = zip(model.hidden_states(input_ids=IDS), model.hidden_states(input_ids=other), strict=True)
        _, dense, banded = (set((a != b).any(-1).any(0).nonzero().flatten().tolist()) for a, b in states)
        assert dense == set(range(changed, 9))
        assert banded == dense  # what it hides has come through the dense layer below
    alone = Gpt(50, 16, 2, 2, max_positions=12, local_window=3).eval()
    alone.stack.blocks[0] = alone.stack.blocks[1]
    other = IDS.clone()
    other[:, 0] += 20
    reads = (alone(IDS) != alone(other)).any(-1).any(0)
    assert reads.tolist() == [True] * 5 + [False] * 4  # two layers of three


def test_neighbours_cannot_share_weights_where_every_second_layer_differs():
    Gpt(50, 16, 4, 2, max_positions=12, local_window=3, num_groups=4)
    with pytest.raises(ValueError, match="sets every second layer apart"):
        Gpt(50, 16, 4, 2, max_positions=12, local_window=3, num_groups=2)


def test_a_window_of_the_whole_length_is_no_window():
    torch.manual_seed(0)
    dense = Gpt(50, 16, 2, 2, max_positions=12).eval()
    banded = Gpt(50, 16, 2, 2, max_positions=12, local_window=9).eval()
    banded.load_state_dict(dense.state_dict())
    assert torch.equal(banded(IDS), dense(IDS))


def test_a_family_with_one_segment_ignores_the_others():
    torch.manual_seed(0)
    model = Bert(50, 16, 2, 2, 32, max_positions=12, num_segments=1).eval()
    assert torch.equal(model(IDS), model(IDS, segment_ids=torch.ones_like(IDS)))
    assert small("bert, no segments").embeddings.segments is None


def test_an_offset_moves_the_rows_of_the_positions():
    torch.manual_seed(0)
    moved, model = (Bert(50, 16, 2, 2, 32, max_positions=12, position_offset=offset).eval() for offset in (2, 0))
    weights = moved.state_dict()
    weights["embeddings.positions.weight"] = weights["embeddings.positions.weight"][2:]
    model.load_state_dict(weights)
    assert torch.equal(model(IDS), moved(IDS))


def test_a_decoder_with_a_narrow_embedding_scores_by_it():
    model = small("gpt, narrow embeddings")
    head = model.vocabulary_head()
    assert head.weight is model.embeddings.tokens.weight and head.weight.shape == (50, 6)
    assert head(model(IDS)).shape == (2, 9, 50)


@pytest.mark.parametrize("name", ["t5", "t5_decoder"])
def test_the_last_hidden_states_of_a_t5_are_dropped_out_too(name):
    model = small(name).train()
    assert 0.05 < (model(**inputs_of(model)) == 0).float().mean() < 0.15
