"""Models in the Hugging Face format as this lab has them: `hf:<folder or hub name>`."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from lmlab.config.assemble import tokenizer_facts
from lmlab.config.build import build, to_plain
from lmlab.config.schema import compose
from lmlab.errors import UserError
from lmlab.files import from_hub
from lmlab.formulations.settings import UNLIMITED
from lmlab.interop.families import of_config
from lmlab.interop.family import Family
from lmlab.interop.files import CONFIG, PATTERNS, PICKLED_PATTERN, SAFE_PATTERN, read_config, read_tensors
from lmlab.interop.rules import Rules
from lmlab.models.skeleton import without_weights
from lmlab.objectives.base import Learner, Objective
from lmlab.text.published import HOW_TO_SAVE, load_published
from lmlab.text.tokenizer import Tokenizer

PREFIX = "hf:"


def is_named(reference: Any) -> bool:
    """Whether `reference` names a model in the Hugging Face format."""
    return str(reference).startswith(PREFIX)


@dataclass
class Source:
    """A folder in the Hugging Face format whose config is understood; no weights are read yet.

    Attributes:
        reference: how it was named, "hf:..." included.
        folder: where it lies, in the hub's cache for a hub name.
        config: its config.json.
        family: that of the model.
        node: our words for the model, as `model` of a config; all sizes are in it.
    """

    reference: str
    folder: Path
    config: dict[str, Any]
    family: Family
    node: dict[str, Any]

    @property
    def name(self) -> str:
        """What summaries and tables call the model."""
        return self.config["model_type"]

    @property
    def seq_len(self) -> int:
        """The longest sequence."""
        return self.node.get("max_positions") or UNLIMITED

    @property
    def tokenizer_node(self) -> dict[str, Any]:
        """Our words for its tokenizer, as `tokenizer` of a config."""
        return {"_target_": "lmlab.text.tokenizers.Pretrained", "path": str(self.folder), "revision": None}


@dataclass
class Loaded:
    """A model with the heads that its folder holds.

    Attributes:
        name: what summaries and tables call the model.
        config: as `lmlab pretrain` would have it for this model; its objective is what the heads were trained with.
        labels: names of the classes that the head `output` tells apart, or None.
    """

    name: str
    learner: Learner
    tokenizer: Tokenizer
    config: DictConfig
    labels: list[str] | None


def find(reference: str) -> Source:
    """Find what `hf:<folder or hub name>` means and read its config.json.

    Raises:
        UserError: there is nothing of that name, or the model is of no family that is known here.
    """
    folder = _folder(str(reference).removeprefix(PREFIX))
    try:
        config = read_config(folder)
        family = of_config(config)
        node = {"_target_": family.target, **family.settings(config)}
    except UserError as error:
        raise UserError(f"{reference}: {error}") from error
    return Source(str(reference), folder, config, family, node)


def load(reference: str | Source) -> Loaded:
    """Load a model, its heads and its tokenizer, in fp32 and for evaluation.

    A decoder that the class of the folder does not have gets fresh weights, and the log says so.

    Raises:
        UserError: something of it is missing, torn, or does not fit the rest; nothing is built then.
    """
    source = reference if isinstance(reference, Source) else find(reference)
    try:
        return _load(source)
    except UserError as error:
        raise UserError(f"{source.reference}: {error}") from error


def _load(source: Source) -> Loaded:
    tokenizer, family = load_published(source.folder), source.family
    _refuse_large_tokenizer(tokenizer, source)
    tensors = family.named(read_tensors(source.folder), source.node)
    heads = family.heads(source.config, source.node, tensors)
    with without_weights():  # shapes alone, until all weights are known to fit
        words, objective = _asked(source, family.objectives(heads), tokenizer)
        learner = Learner(build(words.model, **tokenizer_facts(tokenizer)), objective)
        learner.heads = _modules(learner, heads, tensors)
    shapes = {name: weight.shape for name, weight in learner.named_parameters()}
    named = family.architecture(source.config, source.node)
    weights = family.read(shapes, tensors, source.node, heads, named.without if named else "")
    if len(weights) < len(shapes):
        weights = _fresh(words, tokenizer) | weights
        message = "%s: a %s has no decoder: that starts with fresh weights"
        logging.getLogger(__name__).warning(message, source.reference, named.name)
    fill_in(learner, weights)
    return Loaded(source.name, learner.eval(), tokenizer, words, _labels(source.config) if "output" in heads else None)


def fill_in(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a module that was made without memory its weights, by name; what its parts share stays shared."""
    names = {weight: name for name, weight in module.named_parameters()}
    made = {name: nn.Parameter(weights[name]) for name in names.values()}
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            setattr(part, name, made[names[weight]])


# ---- small parts


def _fresh(words: DictConfig, tokenizer: Tokenizer) -> dict[str, Tensor]:
    """The weights of the network, by name in a learner, as a new model has them; the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = build(words.model, **tokenizer_facts(tokenizer))
    return {f"model.{name}": weight.detach() for name, weight in model.named_parameters()}


def _folder(name: str) -> Path:
    """The folder itself, or the one in the hub's cache."""
    if not name.strip():
        raise UserError(f"{PREFIX} names no model: a folder or a name of the hub must follow, as in {PREFIX}gpt2")
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    what = f"{PREFIX}{name}"
    if path.is_file():
        raise UserError(f"{what} is a file; give the folder that holds {CONFIG} and the weights")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise UserError(f"{what}: there is no such folder")
    folder, reason = from_hub(name, PATTERNS)
    if folder is not None and not any(folder.glob(SAFE_PATTERN)):
        folder, reason = from_hub(name, [PICKLED_PATTERN])
    if folder is None:
        raise UserError(
            f"{what}: there is no such folder here, and no model of that name in the hub's cache or on the hub"
            f" ({reason}). Without network, copy {CONFIG}, the weights and tokenizer.json into a folder and name that"
        )
    return folder


def _refuse_large_tokenizer(tokenizer: Tokenizer, source: Source) -> None:
    rows = source.node["vocab_size"]
    if tokenizer.vocab_size > rows:
        raise UserError(
            f"the tokenizer has ids up to {tokenizer.vocab_size - 1}, but the model has embeddings for {rows} tokens"
            f" only: the two are not of one model. For its own, {HOW_TO_SAVE.format(folder=source.folder)}"
        )


def _asked(source: Source, objectives: list[str], tokenizer: Tokenizer) -> tuple[DictConfig, Objective]:
    """The config of a pre-training of this model, and its objective: the first that can be asked with its tokenizer.

    Raises UserError when there is none.
    """
    facts, problem = tokenizer_facts(tokenizer), None
    for name in objectives:
        words = compose("pretrain", [f"objective={name}", f"seq_len={source.seq_len}"])
        with open_dict(words):
            del words["hydra"]
            words.model, words.tokenizer = source.node, source.tokenizer_node
        words = OmegaConf.create(to_plain(words))
        try:
            return words, build(words.objective, corruption=build(words.corruption, **facts), **facts)
        except UserError as error:
            problem = problem or error
    raise problem


def _modules(learner: Learner, heads: Mapping[str, Rules], tensors: Mapping[str, Tensor]) -> nn.ModuleDict:
    """The heads that a folder holds, with fresh weights: the objective's, the pooler, and that of a task."""
    made = {"pooler": learner.model.pooler()} | dict(learner.heads)
    if "output" in heads:
        module = heads["output"][""]
        num_outputs = len(tensors.get(f"{module}.weight", ()))
        made["output"] = nn.Linear(learner.model.hidden_size, num_outputs, bias=f"{module}.bias" in tensors)
    return nn.ModuleDict({name: made[name] for name in heads if name in made})


def _labels(config: Mapping[str, Any]) -> list[str] | None:
    """Names of the classes in the order of their ids."""
    names = config.get("id2label") or {}
    try:
        return [names[id] for id in sorted(names, key=int)] or None
    except (TypeError, ValueError) as error:
        raise UserError(f"config.json: id2label={names!r} does not map ids to the names of classes") from error
