"""The parts of the networks against closed forms and plain formulas."""

import math

import pytest
import torch
from torch.nn import functional as F

from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.layers import attention, vocabulary
from lmlab.models.layers.attention import attend
from lmlab.models.layers.dropout import Dropout
from lmlab.models.layers.positions import relative_buckets
from lmlab.models.t5 import T5

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


def small_models():
    torch.manual_seed(0)
    return [
        (Bert(50, 16, 2, 2, 32, max_positions=12), {"input_ids": torch.randint(0, 50, (2, 9))}),
        (Gpt(50, 16, 2, 2, max_positions=12), {"input_ids": torch.randint(0, 50, (2, 9))}),
        (
            T5(50, 0, 16, 2, 2, 2, 8, 32),
            {"input_ids": torch.randint(0, 50, (2, 7)), "decoder_input_ids": torch.randint(0, 50, (2, 9))},
        ),
    ]


@pytest.mark.parametrize("case", range(3), ids=["bert", "gpt", "t5"])
def test_hidden_states_at_positions_are_rows_of_all_hidden_states(case):
    model, inputs = small_models()[case]
    model.eval()
    positions = torch.tensor([0, 4, 8, 9, 17])
    rows = model(**inputs).reshape(-1, 16)[positions]
    torch.testing.assert_close(model(**inputs, positions=positions), rows)


@pytest.mark.parametrize("case", range(3), ids=["bert", "gpt", "t5"])
def test_padding_changes_nothing(case):
    model, inputs = small_models()[case]
    model.eval()
    expected = model(**inputs)
    width = inputs["input_ids"].shape[1]
    longer = inputs | {"input_ids": F.pad(inputs["input_ids"], (0, 3), value=7)}
    mask = torch.arange(width + 3).expand(2, -1) < width
    torch.testing.assert_close(model(**longer, attention_mask=mask)[:, : expected.shape[1]], expected)


def test_a_decoder_sees_its_prefix_in_both_directions_and_no_other_future():
    model, inputs = small_models()[1]
    model.eval()
    ids = inputs["input_ids"]
    prefix = torch.arange(9).expand(2, -1) < 4

    def reads(changed: int, at: int) -> bool:
        other = ids.clone()
        other[:, changed] = (other[:, changed] + 1) % 50
        before, after = model(ids, prefix_mask=prefix)[:, at], model(other, prefix_mask=prefix)[:, at]
        return not torch.equal(before, after)

    assert reads(changed=3, at=0)  # inside the prefix, ahead
    assert not reads(changed=6, at=5)  # behind it, ahead
    assert reads(changed=5, at=6)


@pytest.mark.parametrize("case", [1, 2], ids=["gpt", "t5"])
def test_a_cache_changes_nothing(case):
    model, inputs = small_models()[case]
    model.eval()
    expected, cache = model(**inputs), model.new_cache()
    if case == 1:
        pieces = [model(piece, cache=cache) for piece in inputs["input_ids"].split([4, 1, 4], dim=1)]
    else:
        memory = model.encode(inputs["input_ids"])
        pieces = [model.decode(p, memory, cache=cache) for p in inputs["decoder_input_ids"].split([4, 1, 4], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected)
