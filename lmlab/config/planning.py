"""From a config of `lmlab plan` to what is counted: a learner without weights, and batches without data."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from lmlab.batch import Batch
from lmlab.config import conf_dir
from lmlab.config.assemble import PIECES, PretrainData, build_learner
from lmlab.config.build import build, target_of, to_plain
from lmlab.config.fitting import layouts_of, stand_in_tokenizer
from lmlab.config.nodes import layout_of
from lmlab.config.options import folders_of_job, option_files, read_option, root_groups
from lmlab.config.schema import compose
from lmlab.errors import UserError, nearest
from lmlab.models.skeleton import without_weights
from lmlab.objectives.base import Learner
from lmlab.plan.published import Published
from lmlab.text.batching import PretrainBatches
from lmlab.text.store import SENTENCE_START, WORD_START

SENTENCE = 24  # tokens of a sentence of the stand-in text, about as in English
DOCUMENT = 40  # sentences of a document


# --- the objective ---


def objective_for(model: Mapping[str, Any]) -> str:
    """The objective with which a model was trained, else the usual one of pre-training, else the first that fits.

    Raises UserError when there is none of the published name, or no such class of models.
    """
    name, folders = Published.of(model).objective, folders_of_job()
    known = option_files("objective", folders)
    if name is not None and name not in known:
        raise UserError(f"model._published_.objective: there is no objective {name!r}{nearest(name, known)}")
    if "_target_" not in model:
        raise UserError("model._target_ must be given: the class of the model")
    target_of(model["_target_"], "model")  # its mistake is told with the key
    if name is None:
        usual, layout = root_groups("pretrain")["objective"], layout_of(model)
        in_turn = [usual, *known]
        return next((each for each in in_turn if layout in layouts_of(read_option("objective", each, folders))), usual)
    return name


def with_objective(name: str) -> DictConfig:
    """The config of the job that runs, had `objective=<name>` been typed: it may bring its corruption along."""
    job = HydraConfig.get()
    further = [f"file://{folder}" for folder in folders_of_job() if folder != conf_dir()]
    config = compose("plan", [*job.overrides.task, f"objective={name}", f"hydra.searchpath={further}"])
    with open_dict(config):
        del config["hydra"]
    return config


# --- tokenizer, learner and batch ---


def tokenizer_of(config: DictConfig) -> Any:
    """A stand-in with all special tokens and the right `vocab_size`.

    `at_most` says whether that is only the most that training the tokenizer would give.
    Raises UserError when the size of the vocabulary is not known.
    """
    tokenizer = stand_in_tokenizer(to_plain(config.tokenizer))
    tokenizer.vocab_size, tokenizer.at_most = _vocab_size(config)
    return tokenizer


def _vocab_size(config: DictConfig) -> tuple[int, bool]:
    """As asked for, published, or configured, else that of a tokenizer that reads no text; and `at_most`."""
    model = to_plain(config.model)
    if size := config.vocab_size or model.get("vocab_size") or Published.of(model).vocab_size:
        return size, False
    if limit := config.tokenizer.get("vocab_size"):
        return limit, True
    trainer = build(config.tokenizer)
    if trainer.needs_corpus:
        raise UserError("vocab_size must be given: neither the model nor the tokenizer says how many tokens there are")
    return trainer.train(()).vocab_size, False


def skeleton_of(config: DictConfig, tokenizer: Any) -> Learner:
    """Model, objective and heads, without weights."""
    with without_weights():
        return build_learner(config, tokenizer)


def batches_of(config: DictConfig, tokenizer: Any, learner: Learner) -> PretrainBatches:
    """The batches that training would make of a text of which only lengths matter.

    A corruption that learns from the text finds nothing there, and hides as much.
    """
    return _StandInData(config, None, tokenizer, learner.objective, learner.model).train_batches()


def first_micro_batch(batches: PretrainBatches) -> list[Batch]:
    """The first micro-batch alone, a batch for each pass of the objective."""
    size = batches.micro_batch_size
    return PretrainBatches(batches.units, batches.passes, size, size, batches.seed).step(0)


class _StandInData(PretrainData):
    """Text of which only the lengths of sentences and documents are known."""

    def store(self, split: str) -> Any:
        """As of `lmlab.text.store`: every token is the same word."""
        pieces = self._piece_lengths()
        num_documents = 64 + 8 * self.config.seq_len // sum(pieces)
        num_tokens = num_documents * sum(pieces)
        marks = np.full(num_tokens, WORD_START, dtype=np.uint8)
        marks[::SENTENCE] |= SENTENCE_START
        return SimpleNamespace(
            ids=np.full(num_tokens, max(self.tokenizer.special_ids) + 1),
            marks=marks,
            piece_ends=np.tile(pieces, num_documents).cumsum(),
            document_ends=np.arange(1, num_documents + 1) * len(pieces),
            num_sentences=num_tokens // SENTENCE,
        )

    def _prepared(self, split: str) -> Any:
        """The store alone: there is nothing to learn."""
        return self.store(split)

    def _piece_lengths(self) -> list[int]:
        """Of one document."""
        pieces = PIECES[self.objective.unit]
        if pieces == "field":
            return [SENTENCE] * (len(self.config.corpus.fields) - 1) + [SENTENCE * DOCUMENT]
        return [SENTENCE] * DOCUMENT if pieces == "sentence" else [SENTENCE * DOCUMENT]
