"""lmlab evaluate: score a run again, on its own task or another one of its kind, or on held-out text.

A pre-trained run can be asked as it is, without training: how likely it finds the answers of a task
(formulation=likelihood, or after solved examples: in_context), which label word it puts in a blank (cloze), or what it
writes (text_to_text).

lmlab evaluate run=latest
LMLAB_DATA=data lmlab evaluate run=hf:gpt2 task=blimp
LMLAB_DATA=data lmlab evaluate run=hf:gpt2 task=sst2 formulation=in_context formulation.shots=4
lmlab evaluate run=latest objective=mlm corruption.rate=0.3
lmlab evaluate run=latest task=multi30k formulation.num_beams=4
LMLAB_DATA=data lmlab evaluate run=outputs/finetune/2026-01-31/12-00-00-bert-sst2 format=json
"""

import json
import math
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from torch import nn

from lmlab import huggingface
from lmlab.commands.session import command_line, relative
from lmlab.commands.source import refuse_other_fields
from lmlab.commands.transfer import write_predictions
from lmlab.config.assemble import PretrainData, build_corpus, build_formulation, build_objective
from lmlab.config.build import build, target_of, to_plain
from lmlab.config.check import check, check_formulation
from lmlab.config.nodes import layout_of, options_that
from lmlab.config.options import folders_of_job, given_keys, read_option
from lmlab.engine.precision import choose_device, choose_dtype, keep_freed_memory
from lmlab.errors import UserError
from lmlab.formatting import figure
from lmlab.formulations.head import Head
from lmlab.formulations.scoring import evaluation_rows, same_kind, score
from lmlab.loading import LanguageModel, is_pretrained, load, load_finetuned, load_run
from lmlab.objectives.base import Learner
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.chosen import ChosenTokens
from lmlab.runs import find
from lmlab.runs.record import RunFolder
from lmlab.tasks.base import Task
from lmlab.text.tokenizer import Tokenizer

NO_CORRUPTION = {"_target_": "lmlab.corruptions.none.NoCorruption"}  # of objectives that bring none
WITHOUT_TRAINING = "likelihood"  # the formulation for a pre-trained run where none is named


class Scored(NamedTuple):
    """What was found out.

    Attributes:
        source: the run or the model, as a person would name it.
        names: of its words, for the summary.
        task: name of the task that was scored, or None.
        records: lines of predictions.jsonl.
        baseline: the scores of the best constant answer, where they are known.
    """

    source: str
    names: dict[str, Any]
    task: str | None
    metrics: dict[str, float]
    records: list[dict]
    baseline: dict[str, float] | None = None


def main(config: DictConfig) -> None:
    """Score what `config.run` names; the figures go to standard output and to a run folder."""
    check(config)
    keep_freed_memory()
    if config.formulation is not None and not decoding_of(config.formulation["_target_"]):
        refuse_formulation_alone(config)
    scored = score_published(config) if huggingface.is_named(config.run) else score_run(config)
    run = RunFolder(HydraConfig.get().runtime.output_dir)
    facts = scored.names | asked(config) | {"task": scored.task, "init": scored.source}
    run.start(to_plain(config), "evaluate", command_line(), facts)
    if scored.records:
        write_predictions(run, scored.records)
    figures = {"metrics": scored.metrics} | ({"baseline": scored.baseline} if scored.baseline else {})
    run.summary({"status": "finished"} | figures)
    places = {"run": scored.source, "written_to": str(relative(run.path))}
    show(config.format, places | {"task": scored.task} | asked(config) | figures)


def score_run(config: DictConfig) -> Scored:
    """Score a run on its task, or on held-out text."""
    run = find_source(config)
    summary = run.read_summary()
    keys = ("model", "objective", "corruption", "corpus", "formulation", "tuning", "seed", "tokenizer_hash")
    place, names = str(relative(run.path)), {key: summary[key] for key in keys}
    refuse_unfit(config, run)
    if not is_pretrained(run):
        baseline = summary["baseline"] if config.task is None else None
        return Scored(place, names, *score_task(config, run), baseline)
    if config.task is None:
        return Scored(place, names, None, score_text(config, load_run(run)), [])
    return Scored(place, names | {"formulation": formulation_name()}, *score_answers(config, load_run(run)))


def score_published(config: DictConfig) -> Scored:
    """Score a model in the Hugging Face format by its head for a task, or on held-out text."""
    source = load(config.run)
    names = {"model": source.name, "tokenizer_hash": source.tokenizer.hash}
    refuse_formulation_alone(config)
    if config.task is None:
        return Scored(config.run, names, None, score_text(config, source), [])
    if asks_without_training(config) and ("output" not in source.heads or config.formulation is not None):
        return Scored(config.run, names | {"formulation": formulation_name()}, *score_answers(config, source))
    if "output" not in source.heads:
        refuse_task(config, config.run, source.model.layout)
    refuse_question(config, f"task={build(config.task).name} is asked of the head of {config.run}")
    return Scored(config.run, names | {"formulation": "head"}, *score_head(config, source))


def asked(config: DictConfig) -> dict[str, str]:
    """The objective, the corruption and the corpus that were chosen in place of the run's own."""
    choices = HydraConfig.get().runtime.choices
    return {group: choices[group] for group in ("objective", "corruption", "corpus") if config[group] is not None}


def refuse_unfit(config: DictConfig, run: RunFolder) -> None:
    """Raise UserError for a run that cannot be asked what is asked."""
    place = str(relative(run.path))
    if is_pretrained(run):
        refuse_formulation_alone(config)
        if config.task is not None and not asks_without_training(config):
            refuse_task(config, place, layout_of(run.config()["model"]))
        return
    refuse_question(config, f"{place} is fine-tuned")
    other_decoding(config, run)
    asked_task(config, run)


def refuse_formulation_alone(config: DictConfig) -> None:
    """Raise UserError for a formulation without a task."""
    if config.formulation is not None and config.task is None:
        raise UserError("formulation says how a task is put to a model: name the task too, with task=...")


def refuse_task(config: DictConfig, source: str, layout: str) -> None:
    """Raise UserError for a task that is not put to a pre-trained model in this way, and say in which ways it is."""
    kind = target_of(config.task["_target_"]).kind
    why = f"{source} is pretrained and has no head for a task"
    if config.formulation is not None and target_of(config.formulation["_target_"]).answers_untrained:
        why = f"formulation={formulation_name()} does not put a {kind} task to a pretrained model such as {source}"
    fitting = options_that("formulation", lambda node: target_of(node["_target_"]).asks_untrained(kind, layout))
    ways = [f"ask it as it is with formulation={' or '.join(fitting)}"] if fitting else []
    raise UserError(f"{why}; {', or '.join([*ways, 'train a head with: lmlab finetune task=...'])}")


def formulation_name() -> str:
    """The formulation that was chosen for a pre-trained run, or the usual one."""
    return HydraConfig.get().runtime.choices.get("formulation") or WITHOUT_TRAINING


def formulation_node(config: DictConfig) -> Any:
    """The config of that formulation."""
    if config.formulation is not None:
        return config.formulation
    return read_option("formulation", WITHOUT_TRAINING, folders_of_job())


def asks_without_training(config: DictConfig) -> bool:
    """Whether the task can be put to a pre-trained model as it is."""
    formulation = target_of(formulation_node(config)["_target_"])
    return formulation.answers_untrained and target_of(config.task["_target_"]).kind in formulation.fits


def find_source(config: DictConfig) -> RunFolder:
    """The run to score; "latest" is the newest finished one that can be asked what is asked."""
    if config.run != "latest":
        return find.resolve(config.run, None, "a finished run")
    if fitting := find.latest(lambda run: can_be_asked(config, run)):
        return fitting
    if of_pretrained(config) or (config.formulation is not None and asks_without_training(config)):
        return find.resolve(
            "latest", lambda run: is_finished(run) and is_pretrained(run), "a finished pre-training run"
        )
    return find.resolve("latest", is_finished, "a finished run")  # it will say why it is not the one


def can_be_asked(config: DictConfig, run: RunFolder) -> bool:
    """Whether a run is finished and fits what is asked. Raises UserError where it does not fit."""
    if not is_finished(run) or not run.has_checkpoint():
        return False
    refuse_unfit(config, run)
    return True


def of_pretrained(config: DictConfig) -> list[str]:
    """The keys that are given and can be asked of a pre-trained run only."""
    return [key for key in ("objective", "corruption", "corpus", "seq_len", "max_tokens") if config[key] is not None]


def refuse_question(config: DictConfig, what: str) -> None:
    """Raise UserError for what can be asked of a pre-trained model only."""
    if given := of_pretrained(config):
        raise UserError(f"{what}, and these keys are for held-out text: leave out {', '.join(given)}")


def is_finished(run: RunFolder) -> bool:
    """Whether the run reached its end."""
    return run.status() == "finished"


def score_task(config: DictConfig, run: RunFolder) -> tuple[str, dict[str, float], list[dict]]:
    """Name of the task, metrics and prediction records of a fine-tuned run."""
    trained, task = with_folders(OmegaConf.create(run.config()), config), asked_task(config, run)
    learner, formulation, _ = load_finetuned(run, trained, task)
    if settings := other_decoding(config, run):
        formulation = formulation.decode(learner, **settings)
    ready(learner, config, run.environment().get("precision", "fp32"))
    limit = trained.trainer.micro_batch_tokens
    return task.name, *score(formulation, learner, task, evaluation_rows(task), limit)


def asked_task(config: DictConfig, run: RunFolder) -> Task:
    """The task of a fine-tuned run, or the one that is asked in its place.

    Raises:
        UserError: the run cannot answer that one.
    """
    trained = with_folders(OmegaConf.create(run.config()), config)
    places = {"data_dir": trained.data_dir, "cache_dir": trained.cache_dir}
    task = build(trained.task, **places)
    return task if config.task is None else same_kind(task, build(config.task, **places))


def other_decoding(config: DictConfig, run: RunFolder) -> dict[str, Any]:
    """Settings of a fine-tuned run's formulation that are given anew: those that are not learnt.

    Raises:
        UserError: others are given, or another formulation.
    """
    given = [key.partition(".")[2] for key in given_keys() if key.split(".")[0] == "formulation"]
    learnt = run.config()["formulation"]["_target_"]
    free = decoding_of(learnt)
    if given and (config.formulation["_target_"] != learnt or set(given) - {"", *free}):
        but = f", all but {', '.join(f'formulation.{name}' for name in free)}" if free else ""
        raise UserError(f"{relative(run.path)} is fine-tuned and answers as it learnt to: leave out formulation{but}")
    return {name: config.formulation[name] for name in given if name}


def decoding_of(formulation: str) -> tuple[str, ...]:
    """The settings of a formulation that are not learnt."""
    return getattr(target_of(formulation), "decoding", ())


def score_answers(config: DictConfig, source: LanguageModel) -> tuple[str, dict[str, float], list[dict]]:
    """Name of the task, metrics and prediction records of a pre-trained model that is asked without training."""
    refuse_question(config, f"task={build(config.task).name} is asked of {source.origin}")
    trained, node = with_folders(source.config, config), formulation_node(config)
    check_formulation(config.task, node, source.model.layout)
    task = build(config.task, data_dir=trained.data_dir, cache_dir=trained.cache_dir)
    asks = ChosenTokens(source.learner.objective, source.tokenizer)
    formulation = build_formulation(node, config.template, asks=asks, context=source.context)
    learner = formulation.learner(source.model, task, source.tokenizer, source.heads)
    ready(learner, config)
    limit = trained.trainer.micro_batch_tokens
    return task.name, *score(formulation, learner, task, evaluation_rows(task), limit)


def score_head(config: DictConfig, source: LanguageModel) -> tuple[str, dict[str, float], list[dict]]:
    """Name of the task, metrics and prediction records of a model with a head for it.

    Raises:
        UserError: the head gives another number of answers, reads other states, or its classes have other names.
    """
    task = build(config.task, data_dir=config.data_dir, cache_dir=config.cache_dir)
    formulation = Head() if config.formulation is None else build(config.formulation, "formulation")
    if not isinstance(formulation, Head):
        raise UserError(f"{config.run} answers by its head: take formulation=head, not {formulation_name()}")
    check_formulation(task, formulation, source.model.layout)
    learner = formulation.learner(source.model, task, source.tokenizer)
    output, wanted = source.heads["output"], getattr(task, "labels", None)
    generic = [f"LABEL_{number}" for number in range(output.out_features)]  # of a model that was given no names
    known = source.labels or generic
    if output.out_features != task.num_outputs or (wanted and not (known == generic or alike(known, wanted))):
        answers = f"{output.out_features} answers: {', '.join(known)}"
        raise UserError(f"task={task.name}: {config.run} was trained for {answers}; the task has {task.num_outputs}")
    if output.in_features != (width := learner.heads["output"].in_features):
        raise UserError(f"formulation reads {width} numbers of a text; the head of {config.run} {output.in_features}")
    for name in source.heads.keys() & learner.heads.keys():
        learner.heads[name] = source.heads[name]
    ready(learner, config)
    limit = source.config.trainer.micro_batch_tokens
    return task.name, *score(formulation, learner, task, evaluation_rows(task), limit)


def ready(learner: nn.Module, config: DictConfig, trained_in: str = "fp32") -> nn.Module:
    """The learner without dropout, on the device and in the number format of the config; `auto` is `trained_in`."""
    device = choose_device(config.device)
    dtype = choose_dtype(trained_in if config.precision == "auto" else config.precision, device)
    return learner.eval().to(device=device, dtype=dtype)


def alike(names: list[str], others: list[str]) -> bool:
    """Whether two lists of labels say the same; published models write them in capitals, or not."""
    return [name.casefold() for name in names] == [name.casefold() for name in others]


def score_text(config: DictConfig, source: LanguageModel) -> dict[str, float]:
    """Loss and perplexity of a pretrained model on the held-out text of a corpus; bits per byte if it is causal.

    Bits per byte does not depend on the tokenizer: nats per token, times tokens per byte of text, over ln 2.
    """
    trained = another_question(with_folders(source.config, config), config)
    learner = ready(ask(source.learner, trained, source.tokenizer), config)
    corpus = build_corpus(trained)
    data = PretrainData(trained, corpus, source.tokenizer, learner.objective, learner.model)
    metrics = learner.evaluate(data.validation_batches())
    if isinstance(learner.objective, CausalLm):
        store = data.store("validation")
        metrics["bits_per_byte"] = metrics["loss"] / math.log(2) * len(store.ids) / store.num_bytes
    return metrics


def another_question(trained: DictConfig, config: DictConfig) -> DictConfig:
    """The config of a pre-training run with what `config` asks instead: objective, corruption, corpus, lengths.

    Raises:
        UserError: the words do not fit each other, or the model.
    """
    before, trained = trained, trained.copy()
    trained.trainer.eval_tokens = config.max_tokens
    if config.objective is not None:
        trained.objective, trained.corruption = config.objective, NO_CORRUPTION
    if config.corruption is not None:
        trained.corruption = config.corruption
    if config.corpus is not None:
        trained.corpus = config.corpus
    trained.seq_len = config.seq_len or trained.seq_len
    check(trained)
    refuse_other_fields(before, trained)
    return trained


def ask(learner: Learner, trained: DictConfig, tokenizer: Tokenizer) -> Learner:
    """The model and those of its heads that the objective of `trained` asks; heads are known by their names.

    Raises:
        UserError: the objective needs a head that the model was trained without.
    """
    other = Learner(learner.model, build_objective(trained, tokenizer, learner.model))
    if missing := other.heads.keys() - learner.heads.keys():
        objective = HydraConfig.get().runtime.choices.get("objective") or "its own"
        raise UserError(
            f"objective={objective} needs the head {', '.join(sorted(missing))}, which the model was trained without;"
            f" it has {', '.join(learner.heads) or 'none'}"
        )
    for name in other.heads:
        other.heads[name] = learner.heads[name]
    return other.eval()


def with_folders(trained: DictConfig, config: DictConfig) -> DictConfig:
    """The config of a run, with the folders of data and cache that are named now."""
    trained = trained.copy()
    for key in ("data_dir", "cache_dir"):
        trained[key] = config[key] if config[key] is not None else trained.get(key)
    return trained


def show(format: str, result: dict[str, Any]) -> None:
    """One JSON object, or a table, on standard output."""
    if format == "json":
        print(json.dumps(result, ensure_ascii=False))
        return
    baseline = result.get("baseline", {})
    table = Table("metric", "value", *(["baseline"] if baseline else []))
    for name, value in result["metrics"].items():
        table.add_row(name, figure(value), *([figure(baseline[name])] if name in baseline else []))
    console = Console(highlight=False, soft_wrap=True)
    question = f", objective {result['objective']}" if "objective" in result else ""
    console.print(f"{result['run']} on {result['task'] or 'its held-out text'}{question}", markup=False)
    console.print(table)
