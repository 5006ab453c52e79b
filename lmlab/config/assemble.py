"""From the words of a pre-training config to the objects that stand for them, in the order in which data flows."""

import hashlib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from lmlab.config.build import build
from lmlab.errors import UserError
from lmlab.files import cache_dir
from lmlab.formulations.base import Formulation
from lmlab.objectives.base import Learner, Objective
from lmlab.text.batching import Asking, PretrainBatches, ValidationBatches
from lmlab.text.corpora import Corpus
from lmlab.text.features import CONVERTERS
from lmlab.text.store import TokenStore
from lmlab.text.tokenizer import Tokenizer
from lmlab.text.tokenizers import load_or_train
from lmlab.text.units import Blocks, Records, SentencePairs

# Unit of an objective -> the pieces of documents it is cut from.
PIECES = {"block": "document", "sentence_pair": "sentence", "consecutive_pair": "sentence", "record": "field"}


def cache_of(config: DictConfig) -> Path:
    """The folder of trained tokenizers and token ids."""
    return Path(config.cache_dir) if config.get("cache_dir") else cache_dir()


def build_corpus(config: DictConfig) -> Corpus:
    """The corpus, told where data sets and the cache lie."""
    return build(config.corpus, data_dir=config.data_dir, cache_dir=cache_of(config))


def build_tokenizer(config: DictConfig, corpus: Corpus) -> Tokenizer:
    """The tokenizer: loaded, or trained on the training part of the corpus unless the cache has it."""
    trainer = build(config.tokenizer)
    fingerprint = corpus.fingerprint() if trainer.needs_corpus else ""
    return load_or_train(trainer, lambda: corpus.documents("train"), fingerprint, cache_of(config))


def build_formulation(formulation: Any, template: Any = None, **facts: Any) -> Formulation:
    """The formulation of a node, given the texts of its task where it puts tasks in words."""
    texts = None if template is None else build(template, "template")
    return build(formulation, "formulation", template=texts, **facts)


def as_trained(config: DictConfig) -> DictConfig:
    """The config of what a run trains itself: where an ensemble teaches a classifier, that of the classifier."""
    ensemble = config.get("ensemble")
    if ensemble is None:
        return config
    student, config = ensemble.student, config.copy()
    config.formulation, config.optimizer.lr = student.formulation, student.lr
    config.trainer.max_steps, config.trainer.max_epochs = student.max_steps, None
    config.trainer.batch_size, config.trainer.batch_tokens = student.batch_size, None
    return config


def tokenizer_facts(tokenizer: Tokenizer) -> dict[str, Any]:
    """What classes may want to know of the tokenizer. A tokenizer without padding pads with its end token."""
    pad_id = tokenizer.pad_id if tokenizer.pad_id is not None else tokenizer.eos_id
    return {
        "vocab_size": tokenizer.vocab_size,
        "pad_id": pad_id if pad_id is not None else 0,
        "unk_id": tokenizer.unk_id,
        "cls_id": tokenizer.cls_id,
        "sep_id": tokenizer.sep_id,
        "mask_id": tokenizer.mask_id,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "sentinel_ids": tokenizer.sentinel_ids,
        "special_ids": frozenset(tokenizer.special_ids),
        "structural_ids": frozenset(tokenizer.structural_ids),
    }


def build_learner(config: DictConfig, tokenizer: Tokenizer) -> Learner:
    """Model and heads with fresh weights, and the objective that trains them."""
    model = build(config.model, **tokenizer_facts(tokenizer))
    return Learner(model, build_objective(config, tokenizer, model))


def build_objective(config: DictConfig, tokenizer: Tokenizer, model: nn.Module) -> Objective:
    """The objective with its corruption. Raises UserError when the model is too short for its sequences."""
    facts = tokenizer_facts(tokenizer)
    corruption = build(config.corruption, **facts)
    objective = build(config.objective, corruption=corruption, fields=config.corpus.get("fields"), **facts)
    refuse_too_long(objective, config.seq_len, model.layout, model.max_positions)
    return objective


def refuse_too_long(objective: Objective, seq_len: int, layout: str, max_positions: int | None) -> None:
    """Raise UserError when the sequences that the objective makes do not fit into the positions of the model."""
    length = objective.sequence_length(seq_len, layout)
    if max_positions is not None and length > max_positions:
        raise UserError(
            f"seq_len={seq_len} makes sequences of up to {length} tokens, inputs and targets together, but the model"
            f" has {max_positions} positions: lower seq_len, or raise model.max_positions to {length}"
        )


class PretrainData:
    """The text of a config in token ids, and its batches.

    Args:
        config: of `lmlab pretrain`.
        corpus, tokenizer: see above.
        objective: says what one sequence is made of.
        model: says by its `layout` and `start_id` how a sequence is fed; its weights are not read.
        report: called with (documents, characters) while text is tokenised.
        marks: know where words and sentences begin even if the objective does not ask for it.
    """

    def __init__(
        self,
        config: DictConfig,
        corpus: Corpus,
        tokenizer: Tokenizer,
        objective: Objective,
        model: nn.Module,
        report=None,
        marks: bool = False,
    ):
        self.config, self.corpus, self.tokenizer, self.objective = config, corpus, tokenizer, objective
        self.report, self.marks = report, marks or bool(objective.reads)
        self._learnt = ""  # hash of what the objective has learnt from the training text
        pad_id = tokenizer_facts(tokenizer)["pad_id"]
        self.passes = [
            Asking(each.example, CONVERTERS[model.layout](pad_id, each.pools, model.start_id), each.counts, number)
            for number, each in enumerate(objective.passes)
        ]

    def store(self, split: str) -> TokenStore:
        """Token ids of a split, tokenised now unless the cache has them."""
        pieces, cache = PIECES[self.objective.unit], cache_of(self.config)
        return TokenStore.build(self.corpus, self.tokenizer, split, pieces, cache, self.report, self.marks)

    def units(self, split: str) -> Blocks | SentencePairs | Records:
        """The text of a split in units, each of which makes one sequence."""
        seq_len, seed, objective = self.config.seq_len, self.config.seed, self.objective
        store, structural_ids = self._prepared(split), self.tokenizer.structural_ids
        if objective.unit == "block":
            return Blocks(store, objective.block_length(seq_len), objective.block_overlap(), seed, structural_ids)
        if objective.unit == "record":
            return Records(store, objective.block_length(seq_len), self.config.corpus.fields, structural_ids)
        random_next_prob = 0.0 if objective.unit == "consecutive_pair" else 0.5
        seed = seed if split == "train" else 0
        return SentencePairs(
            store, seq_len, random_next_prob=random_next_prob, seed=seed, structural_ids=structural_ids
        )

    def _prepared(self, split: str) -> TokenStore:
        """The store of a split, once it is known that the objective finds what it reads there."""
        store, objective = self.store(split), self.objective
        if "sentence_starts" in objective.reads and store.num_sentences <= len(store.document_ends):
            raise UserError(
                f"the corruption works on sentences, but no document of the {split} split has two of them (a sentence"
                " ends with . ! ? or 。！？, or with its line): choose another corruption or corpus"
            )
        if objective.learns and not self._learnt:
            train = store if split == "train" else self.store("train")
            self._learnt = objective.learn(train, self.tokenizer, cache_of(self.config))
        return store

    @property
    def data_hash(self) -> str:
        """SHA-256 of the training text in token ids, and of what the objective has learnt besides."""
        hashes = self._prepared("train").data_hash, self._learnt
        return hashlib.sha256("".join(hashes).encode()).hexdigest() if self._learnt else hashes[0]

    def train_batches(self) -> PretrainBatches:
        """Batches of the training text."""
        trainer, seq_len = self.config.trainer, self.config.seq_len
        batch_size = trainer.batch_size or max(1, trainer.batch_tokens // seq_len)
        micro_batch_size = min(batch_size, self._sequences(trainer.micro_batch_tokens))
        return PretrainBatches(self.units("train"), self.passes, batch_size, micro_batch_size, self.config.seed)

    def validation_batches(self) -> ValidationBatches:
        """Batches of the validation text, the same in every evaluation."""
        trainer = self.config.trainer
        max_units = None if trainer.eval_tokens is None else self._sequences(trainer.eval_tokens)
        batch_size = self._sequences(trainer.micro_batch_tokens)
        return ValidationBatches(self.units("validation"), self.passes, batch_size, max_units)

    def _sequences(self, tokens: int) -> int:
        return max(1, tokens // self.config.seq_len)
