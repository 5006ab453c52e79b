"""lmlab export: write a run in the Hugging Face format, for transformers.

lmlab export run=latest to=my-model
lmlab export run=outputs/finetune/2026-01-31/12-00-00-bert-sst2 to=my-classifier
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from lmlab.commands.session import relative, say
from lmlab.config.build import build, parameters_of, target_of, to_plain
from lmlab.config.check import check
from lmlab.config.nodes import nodes, value_of
from lmlab.errors import UserError
from lmlab.formulations.head import HeadLearner
from lmlab.formulations.sequence import WritingLearner
from lmlab.interop.families import of_model
from lmlab.interop.family import TASKS, filled
from lmlab.interop.files import CONFIG, refuse_full, write_folder
from lmlab.interop.tokenizer import tokenizer_files
from lmlab.loading import LanguageModel, is_pretrained, load_finetuned, load_run
from lmlab.runs import find
from lmlab.runs.record import RunFolder
from lmlab.tasks.base import Task
from lmlab.text.tokenizer import Tokenizer

SWAPPED = ("next", "in_order")  # values of `positive` that make label 1 what transformers calls 0


@dataclass
class Trained:
    """What a run has made, as far as a folder tells of it.

    Attributes:
        asks: the objective, or the kind of task.
        settings: what the model was made with, defaults included, and how the formulation reads it.
        frame: ids of the tokens that open a sequence and close each text of it.
        task: what it was fine-tuned for, or None.
    """

    learner: nn.Module
    tokenizer: Tokenizer
    target: str
    asks: str
    settings: dict[str, Any]
    frame: tuple[int | None, int | None]
    task: Task | None = None

    @property
    def heads(self) -> set[str]:
        """The heads that have weights, and the one over the vocabulary, whose weights may be the embedding's."""
        heads = self.learner.heads.items()
        return {name for name, head in heads if name == "vocabulary" or any(True for _ in head.parameters())}


def main(config: DictConfig) -> None:
    """Write the run that `config.run` names to the folder `config.to`."""
    check(config)
    if config.to is None:
        raise UserError("to=<folder> must be given: where the model is written")
    to = Path(config.to).expanduser()
    refuse_full(to)
    wanted = is_finished if config.run == "latest" else can_be_exported
    run = find.resolve(config.run, wanted, "a finished pre-trained or fine-tuned run")
    name = export(run, to)
    if config.format == "json":
        print(json.dumps({"run": str(relative(run.path)), "written_to": str(to), "class": name}))
    else:
        print(f"{relative(run.path)} written to {to}\nimport transformers")
        print(f'model = transformers.{name}.from_pretrained("{to}")')
        print(f'tokenizer = transformers.AutoTokenizer.from_pretrained("{to}")')


def can_be_exported(run: RunFolder) -> bool:
    """Whether the run has a model with a head."""
    return run.read_summary()["command"] in ("pretrain", "finetune")


def is_finished(run: RunFolder) -> bool:
    """Whether it has one and reached its end."""
    return can_be_exported(run) and run.status() == "finished"


def export(run: RunFolder, to: Path) -> str:
    """Write what a run has made to the folder `to`; see `write`."""
    return write(pretrained(run) if is_pretrained(run) else finetuned(run), to)


def write(trained: Trained, to: Path) -> str:
    """Write the folder `to`. Returns the name of the class of transformers that holds the model.

    Raises UserError, with nothing written, when there is no such class.
    """
    model, heads, pad_id = trained.learner.model, trained.heads, trained.tokenizer.pad_id
    family = of_model(trained.target, trained.settings, trained.asks, heads)
    architecture = family.chosen(trained.asks, heads)
    if left_out := heads - architecture.heads.keys():
        say(f"{architecture.name} goes without {', '.join(sorted(left_out))}: left out")
    kept = ("model.", *(f"heads.{name}." for name in architecture.heads))
    weights = {name: each for name, each in trained.learner.named_parameters() if name.startswith(kept)}
    config = family.config(trained.settings, pad_id) | token_ids(trained) | labels(trained.task)
    config |= {"architectures": [architecture.name], "dtype": "float32"}
    has_segments = trained.settings.get("num_segments", 0) > 1
    files = tokenizer_files(trained.tokenizer, trained.frame, has_segments, model.max_positions)
    files[CONFIG] = json.dumps(config, indent=2) + "\n"
    write_folder(to, files, family.write(weights, trained.settings, architecture, pad_id))
    return architecture.name


def pretrained(run: RunFolder) -> Trained:
    """What a pre-training run has made."""
    source = load_run(run)
    return as_pretrained(source, run.read_summary()["objective"])


def as_pretrained(source: LanguageModel, asks: str) -> Trained:
    """A model with the heads of the objective `asks`."""
    tokenizer, model, node = source.tokenizer, source.model, to_plain(source.config.model)
    refuse_swapped(source.config)
    refuse_prefix(getattr(model, "bidirectional_prefix", False) and source.learner.objective.sees_inputs_whole)
    frames = {
        "encoder": (tokenizer.cls_id, tokenizer.sep_id),
        "decoder": (None, None),
        "encoder-decoder": (None, tokenizer.eos_id),
    }
    frame = frames[model.layout]
    return Trained(source.learner, tokenizer, node["_target_"], asks, settings_of(node, model), frame)


def finetuned(run: RunFolder) -> Trained:
    """What a fine-tuning run has made."""
    config = OmegaConf.create(run.config())
    task = build(config.task, data_dir=config.data_dir, cache_dir=config.cache_dir)
    learner, formulation, tokenizer = load_finetuned(run, config, task)
    if isinstance(learner, WritingLearner):
        return as_writer(learner, tokenizer, to_plain(config.model))
    if not isinstance(learner, HeadLearner):
        raise UserError(f"{relative(run.path)}: export does not know the formulation {type(formulation).__name__}")
    return as_finetuned(learner, tokenizer, to_plain(config.model), task)


def as_finetuned(learner: HeadLearner, tokenizer: Tokenizer, node: dict[str, Any], task: Task) -> Trained:
    """A model with a head for a task."""
    refuse_apart(learner)
    frame = learner.question.frame
    reading = {
        "formulation.pooling": learner.question.pooling,
        "formulation.sees_text_whole": frame.sees_text_whole,
        "formulation.decoder_input": frame.decoder_input,
    }
    asks = task.kind if task.kind in TASKS else "classification"  # of which a regression is one with one number
    settings = settings_of(node, learner.model) | reading
    return Trained(learner, tokenizer, node["_target_"], asks, settings, (frame.start, frame.separator), task)


def as_writer(learner: WritingLearner, tokenizer: Tokenizer, node: dict[str, Any]) -> Trained:
    """A model that writes a text from a text, as its class of pre-training."""
    frame, model = learner.writing.frame, learner.model
    if model.layout == "encoder":
        raise UserError("an encoder that writes texts cannot be exported yet: decoders and encoder-decoders can")
    refuse_prefix(getattr(learner.writing, "sees_source_whole", False))
    settings = settings_of(node, model)
    return Trained(learner, tokenizer, node["_target_"], "text", settings, (frame.start, frame.separator))


def settings_of(node: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """All that the model's class was given, with its defaults."""
    settings = {name: value_of(node, name) for name in parameters_of(target_of(node["_target_"]))}
    return filled(settings | {"vocab_size": model.vocab_size})


def refuse_swapped(config: DictConfig) -> None:
    """Raise UserError where the answers about pairs mean the opposite of what transformers takes them for."""
    for key, node in nodes(to_plain(config.objective), "objective"):
        if (positive := value_of(node, "positive")) in SWAPPED:
            raise UserError(f"{key}.positive={positive}: transformers takes label 1 for the opposite")


def refuse_prefix(sees_inputs_whole: bool) -> None:
    """Raise UserError for a decoder that reads its inputs in both directions: those of transformers never do."""
    if sees_inputs_whole:
        raise UserError(
            "the decoder was trained to read its inputs in both directions (model.bidirectional_prefix=true), and"
            " transformers would read them from left to right, with other answers: there is no class for it"
        )


def refuse_apart(learner: HeadLearner) -> None:
    """Raise UserError where the texts of a pair are read apart: transformers reads both in one sequence."""
    if learner.question.apart:
        raise UserError(
            "formulation.pairs=apart: the head compares the states of two texts that were read apart, and every class"
            " of transformers reads them in one sequence (joined)"
        )


def token_ids(trained: Trained) -> dict[str, Any]:
    """The ids of special tokens, as config.json has them."""
    tokenizer, model = trained.tokenizer, trained.learner.model
    end = trained.frame[1] if trained.task is not None else None  # where a classifier of transformers reads
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id if end is None else end}
    return ids if model.start_id is None else ids | {"decoder_start_token_id": model.start_id}


def labels(task: Task | None) -> dict[str, Any]:
    """The classes of a task, or that it has one number for an answer, as config.json has them."""
    if task is None or task.kind in ("span", "choice"):
        return {}
    names = getattr(task, "labels", [task.target])
    kinds = {"classification": "single_label_classification", "regression": "regression"}
    problem = {"problem_type": kinds[task.kind]} if task.kind in kinds else {}
    return problem | {
        "id2label": {str(id): name for id, name in enumerate(names)},
        "label2id": {name: id for id, name in enumerate(names)},
    }
