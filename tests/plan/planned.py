"""What the tests of plans share: learners of a command line, with weights and without, and a batch for them."""

import torch
from omegaconf import DictConfig, open_dict

from lmlab.batch import Batch
from lmlab.config.assemble import build_learner
from lmlab.config.planning import batches_of, first_micro_batch, skeleton_of, tokenizer_of
from lmlab.config.schema import compose
from lmlab.objectives.base import Learner
from lmlab.plan.calls import Calls, calls_of

SMALL = ("seq_len=48", "vocab_size=500", "trainer.batch_tokens=192", "model.num_layers=2")

# Every layout, and every part that only some families have.
LAPTOP = {
    "bert": ("model=bert", "objective=mlm_nsp"),
    "albert": ("model=albert", "objective=mlm_sop"),
    "electra": ("model=electra", "objective=rtd", "objective.generator.embedding_size=32"),
    "mobilebert": ("model=mobilebert", "objective=mlm"),
    "inverted bottleneck": ("model=ib_bert", "objective=mlm"),
    "gpt": ("model=gpt", "objective=causal_lm"),
    "gpt with narrow embeddings": ("model=gpt", "objective=causal_lm", "model.embedding_size=32"),
    "gpt2 as a prefix lm": ("model=gpt2", "objective=prefix_lm"),
    "grover": ("model=grover", "objective=field_lm", "corpus.fields=[title,author,text]"),
    "bands": ("model=gpt3", "objective=causal_lm", "model.local_window=16", "model.num_layers=3"),
    "bands that do not divide the length": (
        "model=gpt3",
        "objective=causal_lm",
        "model.local_window=23",
        "model.num_layers=3",
    ),
    "bands under a mask": ("model=gpt3", "objective=prefix_lm", "model.local_window=16", "model.num_layers=3"),
    "t5": ("model=t5", "objective=span_corruption"),
    "t5 with one set of blocks": ("model=t5", "objective=span_corruption", "model.shared=true"),
    "t5 v1.1": ("model=t5_v1_1", "objective=span_corruption"),
    "a decoder of t5's parts": ("model=t5_decoder", "objective=causal_lm"),
    "bart": ("model=bart", "objective=denoising"),
    "mass": ("model=mass", "objective=mass"),
    "two passes": ("model=t5", "objective=sum"),
}


def composed(*words: str) -> DictConfig:
    """The config of a command line."""
    config = compose("plan", list(words))
    with open_dict(config):
        del config["hydra"]
    return config


def skeleton(*words: str) -> Learner:
    """The learner of a command line, without weights."""
    config = composed(*words)
    return skeleton_of(config, tokenizer_of(config))


def with_weights(*words: str, dtype: torch.dtype = torch.float32) -> tuple[Learner, list[Batch], list[Calls]]:
    """A learner that can be run, a micro-batch, and what is known of it beforehand."""
    config = composed(*words)
    tokenizer = tokenizer_of(config)
    torch.manual_seed(0)
    learner = build_learner(config, tokenizer).to(dtype).train()
    batches = first_micro_batch(batches_of(config, tokenizer, skeleton_of(config, tokenizer)))
    return learner, batches, calls_of(learner, batches)
