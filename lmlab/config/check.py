"""Whether the words of an experiment fit, found before any weight or data is built; all problems at once.

First each node against the signature of its class, then the words against each other by class attributes:
`Model.layout`, `Objective.layouts`, `.unit` and `.corruption_needs`, `Corruption.keeps_length` and `.hides`,
`Formulation.serves`, `Task.kind`. A class made of others (a sum of objectives, a chain of corruptions) need
not repeat what its parts declare: the strictest of all counts.
"""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lmlab.config.build import RESERVED, parameters_of, target_of
from lmlab.config.options import folders_of_job, option_files, read_option
from lmlab.config.schema import ROOTS, Trainer, allowed_words
from lmlab.errors import UserError, nearest

Node = Mapping[str, Any]
UNITS = ("block", "sentence_pair")
BUDGETS = ("max_steps", "max_tokens", "max_minutes", "max_epochs")
SHORTEST = 5  # [CLS] a [SEP] b [SEP]
AT_LEAST_ZERO = ("temperature", "seed")


def check(config: DictConfig) -> None:
    """Raise one UserError that lists all that is wrong with a composed config (with or without `hydra`)."""
    words = {key: _plain(config, key) for key in config if key != "hydra"}
    problems = [*_root_problems(words), *_trainer_problems(words.get("trainer"))]
    for key, value in words.items():
        problems += binding_problems(value, str(key))
    if not problems:  # only words whose classes are known to exist can be held against each other
        problems = [*_objective_problems(words), *_model_problems(words), *_task_problems(words)]
    if problems:
        raise UserError(in_one_message(problems))


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


# --- one node against the signature of its class ---


def binding_problems(value: Any, key: str) -> list[str]:
    """What is wrong with the keys of `value` and of all nodes inside it that have a `_target_`."""
    problems = []
    for where, node in nodes(value, key):
        try:
            target = target_of(node["_target_"], where)
        except UserError as error:
            problems.append(str(error))
            continue
        problems += _signature_problems(target, node, where)
    return problems


def nodes(value: Any, key: str) -> Iterator[tuple[str, Node]]:
    """All nodes with a `_target_` at or below `value`, with their dotted keys, outer ones first."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield key, value
        for name, each in value.items():
            yield from nodes(each, f"{key}.{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from nodes(each, f"{key}[{index}]")


def _signature_problems(target: Callable[..., Any], node: Node, key: str) -> list[str]:
    takes = parameters_of(target)
    takes_any = any(each.kind is each.VAR_KEYWORD for each in takes.values())
    hints = _annotations(target)
    problems = []
    for name, value in node.items():
        if name in RESERVED:
            continue
        if name not in takes and not takes_any:
            hint = nearest(name, takes)
            all_names = ", ".join(takes) or "nothing"
            problems.append(f"{key}.{name}: {target.__name__} takes no {name!r}{hint} (it takes: {all_names})")
        elif name in hints and not _fits(value, hints[name]):
            problems.append(f"{key}.{name} must be {_in_words(hints[name])}, not {_in_yaml(value)}")
    return problems


def _annotations(target: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters, those that a class hands on to its parent included."""
    hints: dict[str, Any] = {}
    for each in reversed(inspect.getmro(target)) if inspect.isclass(target) else (target,):
        function = each.__init__ if isinstance(each, type) else each
        with suppress(NameError, TypeError):  # a name that is imported for type checking only
            hints |= typing.get_type_hints(function)
    return hints


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a plain value has the annotated type; annotations that are not simple take anything."""
    if isinstance(value, Mapping) and "_target_" in value:
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is Literal:
        return value in arguments
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in (str, bool):
        return isinstance(value, annotation)
    kind = origin or annotation
    if kind in (list, tuple, Sequence, Iterable):
        return _fits_sequence(value, kind, arguments)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    return True


def _fits_sequence(value: Any, kind: Any, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(value, list):
        return False
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    return not arguments or all(_fits(each, arguments[0]) for each in value)


def _in_yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _in_words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_in_words(each) for each in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    simple = {int: "an integer", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if annotation in simple:
        return simple[annotation]
    if (origin or annotation) in (list, tuple, Sequence, Iterable):
        inside = ", ".join(_in_words(each) for each in arguments if each is not ...)
        return f"a list ({inside})" if inside else "a list"
    return str(getattr(annotation, "__name__", annotation))


# --- the keys that belong to no class ---


def _root_problems(words: Mapping[str, Any]) -> list[str]:
    root = max(ROOTS.values(), key=lambda each: len({field.name for field in fields(each)} & set(words)))
    problems = _value_problems(words, root, "")
    if (top_p := words.get("top_p")) is not None and not 0 < top_p <= 1:
        problems.append(f"top_p must lie above 0 and at most at 1, not {top_p}")
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
            elif name not in AT_LEAST_ZERO and value <= 0:
                problems.append(f"{prefix}{name} must be above 0, and is {value}")
    return problems


# --- the words against each other ---


def trait(node: Node, name: str) -> list[Any]:
    """What the classes of a node and of the nodes inside it declare under `name`, the outermost first."""
    declared = [getattr(target_of(each["_target_"]), name, None) for _, each in nodes(node, "")]
    return [value for value in declared if value is not None and not isinstance(value, property)]


def layouts_of(objective: Node) -> set[str]:
    """The model layouts that serve an objective; for a sum, those that serve all parts."""
    declared = [set(each) for each in trait(objective, "layouts")]
    return set.intersection(*declared) if declared else {"encoder", "decoder", "encoder-decoder"}


def suits(corruption: Node, needs: set[str]) -> bool:
    """Whether a corruption has all attributes that an objective needs; without needs it must hide nothing."""
    if not needs:
        return not any(trait(corruption, "hides"))
    return all(all(trait(corruption, name)) for name in needs)


def _objective_problems(words: Mapping[str, Any]) -> list[str]:
    objective, model, corruption = (words.get(name) for name in ("objective", "model", "corruption"))
    if not isinstance(objective, Mapping):
        return []
    problems = [
        f"objective: {_name('objective', objective)} declares the unit {unit!r}; known are {', '.join(UNITS)}"
        for unit in trait(objective, "unit")
        if unit not in UNITS
    ]
    if isinstance(model, Mapping) and (problem := _layout_problem(model, objective)):
        problems.append(problem)
    if isinstance(corruption, Mapping) and (problem := _corruption_problem(objective, corruption)):
        problems.append(problem)
    return problems


def _layout_problem(model: Node, objective: Node) -> str | None:
    layout, wanted = _layout(model), layouts_of(objective)
    if layout is None or layout in wanted:
        return None
    objectives = _options_that("objective", lambda node: layout in layouts_of(node))
    models = _options_that("model", lambda node: _layout(node) in wanted)
    model_name, objective_name = _name("model", model), _name("objective", objective)
    return (
        f"model={model_name} cannot learn objective={objective_name}: the model's layout is {layout}, and the"
        f" objective needs {' or '.join(sorted(wanted)) or 'parts that agree on a layout'}."
        f"\nObjectives that fit model={model_name}: {', '.join(objectives) or 'none'}."
        f"\nModels that fit objective={objective_name}: {', '.join(models) or 'none'}."
    )


def _corruption_problem(objective: Node, corruption: Node) -> str | None:
    needs = {name for names in trait(objective, "corruption_needs") for name in names}
    if suits(corruption, needs):
        return None
    meaning = {"keeps_length": "keep the length of the text", "hides": "hide or change something"}
    wish = " and ".join(meaning.get(name, f"have the attribute {name}") for name in sorted(needs))
    fitting = _options_that("corruption", lambda node: suits(node, needs))
    names = (_name("corruption", corruption), _name("objective", objective))
    return (
        f"corruption={names[0]} does not fit objective={names[1]}, whose"
        f" corruption must {wish or 'hide nothing'}.\nCorruptions that fit: {', '.join(fitting) or 'none'}."
    )


def _model_problems(words: Mapping[str, Any]) -> list[str]:
    model = words.get("model")
    in_use = "objective" in words or words.get("init") == "random"  # else the weights come from a run
    if not isinstance(model, Mapping) or not in_use:
        return []
    problems = []
    positions, length = _value(model, "max_positions"), words.get("seq_len")
    if length is not None and length < SHORTEST:
        problems.append(f"seq_len={length} leaves no room for text beside the special tokens: at least {SHORTEST}")
    if positions is not None and length is not None and length > positions:
        problems.append(
            f"seq_len={length} is longer than the {positions} positions of model={_name('model', model)}:"
            f" set seq_len to {positions} or less, or model.max_positions={length}"
        )
    width, heads = _value(model, "hidden_size"), _value(model, "num_heads")
    if isinstance(width, int) and isinstance(heads, int) and _value(model, "head_size") is None:
        if heads <= 0 or width <= 0:
            problems.append(f"model.hidden_size={width} and model.num_heads={heads} must both be above 0")
        elif width % heads:
            problems.append(
                f"model.hidden_size={width} cannot be shared equally by model.num_heads={heads}:"
                f" choose a multiple of {heads}, such as {max(heads, round(width / heads) * heads)}"
            )
    return problems


def _task_problems(words: Mapping[str, Any]) -> list[str]:
    task, formulation, model = (words.get(name) for name in ("task", "formulation", "model"))
    if words.get("init") != "random" or not all(isinstance(each, Mapping) for each in (task, formulation, model)):
        return []
    kinds, layout = trait(task, "kind"), _layout(model)
    if not kinds or layout is None:
        return []
    problem = _formulation_problem(kinds[0], target_of(formulation["_target_"]), layout)
    return [problem] if problem else []


def _formulation_problem(kind: str, formulation: type, layout: str) -> str | None:
    if _serves(formulation, kind, layout):
        return None
    fitting = _options_that("formulation", lambda node: _serves(target_of(node["_target_"]), kind, layout))
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


def _layout(model: Node) -> str | None:
    return next(iter(trait(model, "layout")), None)


def _value(node: Node, name: str) -> Any:
    """A key of a node, or the default of its class."""
    if name in node:
        return node[name]
    parameter = parameters_of(target_of(node["_target_"])).get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def _name(group: str, node: Node) -> str:
    """The option's name as on the command line, or the class's name where no command line is known."""
    if HydraConfig.initialized():
        choice = HydraConfig.get().runtime.choices.get(group)
        if choice is not None:
            return str(choice)
    return str(node["_target_"]).rpartition(".")[2]


def _options_that(group: str, fits: Callable[[Node], bool]) -> list[str]:
    """The names of a group's options that pass `fits`; one whose class cannot be read is left out."""
    folders = folders_of_job()
    names = []
    for name in option_files(group, folders):
        try:
            if fits(read_option(group, name, folders)):
                names.append(name)
        except (UserError, KeyError, ValueError, OSError):
            continue
    return names
