"""Which weights move."""

from types import SimpleNamespace

import pytest
import torch

from lmlab.formulations.head import HeadLearner
from lmlab.models.bert import Bert
from lmlab.tuning.frozen import Frozen
from lmlab.tuning.full import Full


@pytest.fixture
def learner():
    body = Bert(50, 16, 1, 2, 32, 8, dropout=0.5, attention_dropout=0.5)
    return HeadLearner(body, SimpleNamespace(pooled=True, has_pooler=True, num_states=1), num_outputs=2, dropout=0.5)


def moving(learner):
    return {name.split(".")[0] for name, weight in learner.named_parameters() if weight.requires_grad}


def test_full_moves_everything(learner):
    Full().prepare(learner.requires_grad_(False))
    assert moving(learner) == {"model", "heads"}
    assert learner.train().model.training


def test_frozen_moves_the_heads_and_keeps_the_features_fixed(learner):
    Frozen().prepare(learner.train())
    assert moving(learner) == {"heads"}
    ids = torch.randint(0, 50, (3, 8))
    for _ in range(2):
        learner.eval()
        learner.train()
        assert torch.equal(learner.model(ids), learner.model(ids))
        assert learner.dropout.training and not learner.model.training
