"""A loaded model stays within the positions that it has learnt."""

import pytest

from lmlab.commands.export import as_pretrained
from lmlab.config.assemble import build_learner
from lmlab.config.schema import compose
from lmlab.errors import UserError
from lmlab.loading import LanguageModel
from lmlab.text.tokenizers import WordPiece

SMALL = ("model.hidden_size=16", "model.num_layers=1", "model.num_heads=2", "model.intermediate_size=32", "seq_len=16")


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece(vocab_size=150, num_sentinels=4).train(["the red dog runs over the green field"] * 20)


def untrained(tokenizer, *words: str) -> LanguageModel:
    config = compose("pretrain", [*words, *SMALL])
    return LanguageModel(build_learner(config, tokenizer).eval(), tokenizer, config)


def test_an_encoder_decoder_writes_no_more_than_it_has_positions(tokenizer):
    model = untrained(tokenizer, "model=bart", "objective=prefix_lm", "model.max_positions=16")
    rows = list(model.stream("the red", 64, temperature=1.0, top_k=None, top_p=1.0, seed=0, num_samples=2))
    assert 0 < len(rows) <= 16
    with pytest.raises(UserError, match="sequences of 16: shorten it"):
        model.generate("dog " * 30)


def test_blanks_are_filled_within_the_positions(tokenizer):
    model = untrained(tokenizer, "model=bart", "objective=span_corruption", "model.max_positions=16")
    assert len(model.fill("the [MASK] dog [MASK] and [MASK]")) == 3
    with pytest.raises(UserError, match="sequences of 16: shorten it"):
        model.fill("dog " * 30 + "[MASK]")


def test_a_decoder_that_reads_both_ways_has_no_class_in_transformers(tokenizer):
    words = ("model=gpt2", "objective=prefix_lm")
    with pytest.raises(UserError, match="read its inputs in both directions"):
        as_pretrained(untrained(tokenizer, *words), "prefix_lm")
    as_pretrained(untrained(tokenizer, *words, "model.bidirectional_prefix=false"), "prefix_lm")
