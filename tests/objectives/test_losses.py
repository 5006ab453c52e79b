"""Losses of all objectives on all layouts: where they start, and that they can be brought down."""

import math

import pytest
import torch
from asked import ASK_DECODERS, ASK_ENCODERS, ASK_IN_TEXT, VOCAB, batches_of, unit_for

from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.objectives.base import Learner

SEQ_LEN = 32


def bert() -> Bert:
    return Bert(VOCAB, 64, 2, 2, 128, max_positions=64)


def gpt() -> Gpt:
    return Gpt(VOCAB, 64, 2, 2, max_positions=128)


def t5() -> T5:
    """Its embedding is drawn wide, and the tied head would read opinions from it; drawn narrow, it has none."""
    model = T5(VOCAB, 0, 64, 2, 2, 2, 32, 128)
    with torch.no_grad():
        model.embeddings.tokens.weight.mul_(0.05)
    return model


CASES = {
    **{f"bert {name}": (bert, asks) for name, asks in ASK_ENCODERS.items()},
    **{f"gpt {name}": (gpt, asks) for name, asks in ASK_DECODERS.items()},
    **{f"t5 {name}": (t5, asks) for name, asks in ASK_IN_TEXT.items()},
}


def learner_and_batch(case: str, num_units: int):
    torch.manual_seed(0)
    model, objective = (make() for make in CASES[case])
    learner = Learner(model, objective)
    units = [unit_for(objective, SEQ_LEN, seed) for seed in range(num_units)]
    (batch,) = batches_of(objective, model.layout, units)
    return learner, batch


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_known_at_the_start(case):
    learner, batch = learner_and_batch(case, 32)
    metrics = learner.evaluate([batch])
    num_answers = 2 if learner.objective.pools else VOCAB
    assert metrics["loss"] == pytest.approx(math.log(num_answers), rel=0.02)
    assert metrics.get("perplexity", num_answers) == pytest.approx(num_answers, rel=0.2)


def test_t5_starts_above_chance_by_what_its_wide_embedding_claims():
    """Logits of deviation 1 that mean nothing cost 1/2 nat: ln V + 1/2 over an embedding of its own (T5 v1.1)."""
    torch.manual_seed(0)
    model = T5(VOCAB, 0, 64, 2, 2, 2, 32, 128, tied=False)
    objective = ASK_IN_TEXT["prefix_lm"]()
    learner = Learner(model, objective)
    (batch,) = batches_of(objective, model.layout, [unit_for(objective, SEQ_LEN, seed) for seed in range(32)])
    assert learner.evaluate([batch])["loss"] == pytest.approx(math.log(VOCAB) + 0.5, rel=0.02)


@pytest.mark.parametrize("case", ["bert mlm", "bert sop", "gpt prefix_lm", "t5 span_corruption", "t5 mass"])
def test_four_examples_are_learnt_by_heart(case):
    learner, batch = learner_and_batch(case, 4)
    if case.startswith("t5"):
        torch.nn.init.normal_(learner.model.embeddings.tokens.weight)
    learner.eval()  # no dropout: this is about fitting
    (term,) = batch.counts
    optimizer = torch.optim.AdamW(learner.parameters(), lr=5e-3, weight_decay=0)
    for _ in range(100):
        loss = learner(batch)[term] / batch.counts[term]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    metrics = learner.evaluate([batch])
    assert metrics["loss"] < 0.2 and metrics["accuracy"] > 0.97
