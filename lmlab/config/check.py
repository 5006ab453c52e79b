"""Whether the words of an experiment fit, found before any weight or data is built; all problems at once.

First each node against the signature of its class (`lmlab.config.binding`), then the words against each other: what is
asked of which model (`lmlab.config.fitting`), sizes of the model, and the formulation of a task.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lmlab.config.assemble import tokenizer_facts
from lmlab.config.binding import binding_problems
from lmlab.config.build import build, target_of
from lmlab.config.fitting import fitting_problems, size_problems, stand_in_tokenizer
from lmlab.config.nodes import Node, layout_of, option_name, options_that, trait, value_of
from lmlab.config.schema import ROOTS, Trainer, allowed_words
from lmlab.errors import UserError, nearest
from lmlab.models.skeleton import without_weights

BUDGETS = ("max_steps", "max_tokens", "max_minutes", "max_epochs")
SHORTEST = 5  # [CLS] a [SEP] b [SEP]
AT_LEAST_ZERO = ("temperature", "seed")
SHARES = ("top_p", "utilisation")


def check(config: DictConfig) -> None:
    """Raise one UserError that lists all that is wrong with a composed config (with or without `hydra`)."""
    words = {key: _plain(config, key) for key in config if key != "hydra"}
    problems = [*_root_problems(words), *_trainer_problems(words.get("trainer")), *_without_class(words)]
    for key, value in words.items():
        problems += binding_problems(value, str(key))
    if not problems:  # only words whose classes are known to exist can be held against each other
        problems = [*fitting_problems(words), *_model_problems(words), *_task_problems(words)]
        problems += [*_training_problems(words), *_ensemble_problems(words)]
        problems = problems or size_problems(words)
    if problems:
        raise UserError(in_one_message(problems))


def _without_class(words: Mapping[str, Any]) -> list[str]:
    """Options of groups that do not say whose settings they are."""
    groups = {each.name for root in ROOTS.values() for each in fields(root) if each.type is Any}
    return [
        f"{name}={option_name(name, value)} names no class: its YAML must have a line such as"
        f" _target_: my_package.MyClass"
        for name, value in words.items()
        if name in groups and isinstance(value, Mapping) and "_target_" not in value
    ]


def in_one_message(problems: list[str]) -> str:
    """One problem as it is, several as a list."""
    if len(problems) == 1:
        return problems[0]
    return "\n  - ".join([f"{len(problems)} problems:", *(each.replace("\n", "\n    ") for each in problems)])


def check_formulation(task: Any, formulation: Any, layout: str) -> None:
    """Raise a UserError unless the formulation puts tasks of this kind to a model of this layout.

    For the command to call once it knows the layout of the run it starts from; nodes or built objects.
    """
    task_type, formulation_type = (_type_of(each) for each in (task, formulation))
    if problem := _formulation_problem(task_type.kind, formulation_type, layout):
        raise UserError(problem)


# --- the keys that belong to no class ---


def _root_problems(words: Mapping[str, Any]) -> list[str]:
    root = max(ROOTS.values(), key=lambda each: len({field.name for field in fields(each)} & set(words)))
    problems = _value_problems(words, root, "")
    for name in SHARES:
        if (share := words.get(name)) is not None and not 0 < share <= 1:
            problems.append(f"{name} must lie above 0 and at most at 1, not {share}")
    return problems


def _trainer_problems(trainer: Node | None) -> list[str]:
    if trainer is None:
        return []
    problems = _value_problems(trainer, Trainer, "trainer.")
    sizes = {name: trainer[name] for name in ("batch_tokens", "batch_size") if trainer[name] is not None}
    if len(sizes) == 2:
        problems.append(
            "trainer.batch_tokens and trainer.batch_size are both set: one step is either so many tokens or"
            " so many sequences; set the other one to null"
        )
    if not sizes:
        problems.append("trainer.batch_tokens or trainer.batch_size must be set: it is the size of one step")
    if all(trainer[name] is None for name in BUDGETS):
        problems.append(f"the run would never end: set one of {', '.join(f'trainer.{name}' for name in BUDGETS)}")
    return problems


def _value_problems(values: Node, schema: type, prefix: str) -> list[str]:
    """Words that are none of the allowed ones, and numbers that must be positive but are not."""
    problems = []
    words = allowed_words(schema)
    for name in (field.name for field in fields(schema) if field.name in values):
        value = values[name]
        if name in words and value not in words[name]:
            hint = nearest(str(value), words[name])
            problems.append(f"{prefix}{name} must be one of {', '.join(words[name])}, not {value!r}{hint}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            if name in AT_LEAST_ZERO and value < 0:
                problems.append(f"{prefix}{name} must not be negative, and is {value}")
            elif name not in (*AT_LEAST_ZERO, *SHARES) and value <= 0:
                problems.append(f"{prefix}{name} must be above 0, and is {value}")
    return problems


# --- the words against each other ---


def _model_problems(words: Mapping[str, Any]) -> list[str]:
    model = words.get("model")
    in_use = "objective" in words or words.get("init") == "random"  # else the weights come from a run
    if not isinstance(model, Mapping) or not in_use:
        return []
    problems = []
    positions, length = value_of(model, "max_positions"), words.get("seq_len")
    if length is not None and length < SHORTEST:
        problems.append(f"seq_len={length} leaves no room for text beside the special tokens: at least {SHORTEST}")
    if positions is not None and length is not None and length > positions:
        problems.append(
            f"seq_len={length} is longer than the {positions} positions of model={option_name('model', model)}:"
            f" set seq_len to {positions} or less, or model.max_positions={length}"
        )
    batch = words["trainer"]["batch_tokens"] if "objective" in words else None
    if batch is not None and length is not None and batch < length:
        problems.append(
            f"trainer.batch_tokens={batch} is less than one sequence of seq_len={length}: raise it, or lower seq_len"
        )
    return problems + _model_refusals(model, words.get("tokenizer"))


def _model_refusals(model: Node, tokenizer: Any) -> list[str]:
    """What the model's class refuses, found by a trial without weights."""
    sizes = {key: value for key, value in model.items() if type(value) is int}
    if negative := [f"model.{key}={value} must not be negative" for key, value in sizes.items() if value < 0]:
        return negative
    if not isinstance(tokenizer, Mapping):
        return []
    try:
        with without_weights():
            build(model, "model", **tokenizer_facts(stand_in_tokenizer(tokenizer)))
    except UserError as error:
        return [str(error)]
    return []


def _task_problems(words: Mapping[str, Any]) -> list[str]:
    task, formulation, model = (words.get(name) for name in ("task", "formulation", "model"))
    if words.get("init") != "random" or not all(isinstance(each, Mapping) for each in (task, formulation, model)):
        return []
    kinds, layout = trait(task, "kind"), layout_of(model)
    if not kinds or layout is None:
        return []
    problem = _formulation_problem(kinds[0], target_of(formulation["_target_"]), layout)
    return [problem] if problem else []


def _training_problems(words: Mapping[str, Any]) -> list[str]:
    """A formulation that cannot be learnt, where something is to be trained."""
    formulation = words.get("formulation")
    if "tuning" not in words or not isinstance(formulation, Mapping):
        return []
    if getattr(target_of(formulation["_target_"]), "trains", True):
        return []
    name, task = option_name("formulation", formulation), option_name("task", words["task"])
    return [f"formulation={name} trains nothing; evaluate with: lmlab evaluate run=... task={task}"]


def _ensemble_problems(words: Mapping[str, Any]) -> list[str]:
    """An ensemble of models that do not say how likely they find each label."""
    formulation, ensemble = words.get("formulation"), words.get("ensemble")
    if not isinstance(ensemble, Mapping) or _scores_labels(formulation):
        return []
    fitting = ", ".join(f"formulation={name}" for name in options_that("formulation", _scores_labels))
    name = option_name("formulation", formulation)
    return [f"ensemble={option_name('ensemble', ensemble)} joins models of {fitting}, not of formulation={name}"]


def _scores_labels(formulation: Node) -> bool:
    return hasattr(target_of(formulation["_target_"]), "label_scores")


def _formulation_problem(kind: str, formulation: type, layout: str) -> str | None:
    if _serves(formulation, kind, layout):
        return None
    fitting = options_that("formulation", lambda node: _serves(target_of(node["_target_"]), kind, layout))
    return (
        f"the formulation {formulation.__name__} does not put a {kind} task to a model of layout {layout}."
        f"\nFormulations that do: {', '.join(fitting) or 'none'}."
    )


def _serves(formulation: Any, kind: str, layout: str) -> bool:
    serves = getattr(formulation, "serves", None)
    if serves is None:
        return True
    return bool(serves(kind, layout)) if callable(serves) else (kind, layout) in serves


# --- small helpers ---


def _plain(config: DictConfig, key: Any) -> Any:
    value = config[key]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _type_of(node: Any) -> Any:
    if isinstance(node, (Mapping, DictConfig)):
        return target_of(node["_target_"])
    return node if isinstance(node, type) else type(node)
