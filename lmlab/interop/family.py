"""What a family's file declares, and what follows from it: settings from a config.json and back, heads, and tensors."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lmlab.errors import UserError, nearest
from lmlab.interop.rules import Place, Rules, places, to_ours, to_theirs

Config = Mapping[str, Any]  # a config.json
Settings = Mapping[str, Any]  # what our class of the model takes
Tensors = dict[str, Tensor]

# What the format calls an activation, and what it is here.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
SAME_AS = {"embedding_size": "hidden_size", "num_decoder_layers": "num_layers"}  # where a setting of ours is null

# What may stand where the default of a key is of a type, and its name in a message.
WHOLE = {int: "a whole number"}
KINDS = {
    int: WHOLE,
    float: WHOLE | {float: "a fraction"},
    bool: {bool: "true or false"},
    type(None): WHOLE | {type(None): "null"},
}


class Key(NamedTuple):
    """A key of config.json that says what a setting of ours says.

    Attributes:
        name: of the key.
        default: what holds in the format where the key is absent.
        words: for a key that holds a word: the format's word -> ours.
        also: further keys that must say the same.
    """

    name: str
    default: Any
    words: Mapping[str, str] | None = None
    also: tuple[str, ...] = ()

    def problems(self, value: Any) -> Iterator[str]:
        """What is wrong with a value of the key."""
        if self.words is not None and value not in list(self.words):  # a list, since the value may have no hash
            yield f"{self.name}={value!r} is not known{nearest(str(value), map(str, self.words))}"
        elif self.words is None and type(value) not in KINDS[type(self.default)]:
            yield f"{self.name}={value!r}, where {' or '.join(KINDS[type(self.default)].values())} is wanted"

    def ours(self, value: Any) -> Any:
        """What we call a value of the key."""
        return value if self.words is None else self.words[value]


TOKEN_IDS = (Key("pad_token_id", None), Key("decoder_start_token_id", None))  # which families read in their own ways


class Architecture(NamedTuple):
    """A class of the format: the network with heads.

    Attributes:
        name: of the class.
        asks: what it was trained with: an objective of conf/objective, or a kind of task.
        heads: the weights of each head.
        fixed: settings of ours, or of the formulation (`formulation.`), that the class has by nature.
        left_out: heads of ours that it does without.
        wrapped: what stands before the names of the network here and in no other class of the family.
        without: weights of the network that the class does not have.
        refused: why a model of the class can be neither read nor written; empty: it can be both.
    """

    name: str
    asks: str
    heads: Mapping[str, Rules]
    fixed: Settings = MappingProxyType({})
    left_out: tuple[str, ...] = ()
    wrapped: str = ""
    without: str = ""
    refused: str = ""


TASKS = ("classification", "tagging", "span", "choice")
AS_HEADS_READ = {"formulation.pooling": "token", "formulation.sees_text_whole": False}  # of every class for a task


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """How one family of models is kept in the format. All of it is data; the functions are for what is derived.

    Attributes:
        model_types: its names in config.json; the first is the one that is written.
        target: our class.
        prefix: what stands before the names of the network in a class with heads, and is absent without.
        keys: our settings -> keys of config.json.
        body: the weights of the network; a function where they depend on our settings.
        architectures: the classes; those of pre-training first, of these the one with most heads first and the network
            alone last, whole and then in part.
        copies: tensors that a file may hold once more under another name -> the original.
        ignored: patterns of tensors that hold no weights.
        zeros: patterns of tensors that must be zero: the network has no place for them.
        fixed: settings of ours that every class of the family has by nature.
        theirs: keys of config.json that must have this value (or be absent): what we have no place for.
        offset: rows of the position embedding before the first token's, by the padding token's id.
        usual: settings that tell the family from others of the same class, where the weights do not.
        reads, writes: the settings, or the config, with what the keys alone do not say.
        refuses: reasons why a model with these settings cannot be written, besides `fixed`.
    """

    model_types: tuple[str, ...]
    target: str
    prefix: str = ""
    keys: Mapping[str, Key]
    body: Rules | Callable[[Settings], Rules]
    architectures: tuple[Architecture, ...]
    copies: Mapping[str, str] | Callable[[Settings], Mapping[str, str]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    zeros: tuple[str, ...] = ()
    fixed: Settings = field(default_factory=dict)
    theirs: Config = field(default_factory=dict)
    offset: Callable[[int | None], int] = lambda pad_id: 0
    usual: Settings = field(default_factory=dict)
    reads: Callable[[Config, dict], dict] = lambda config, settings: settings
    writes: Callable[[Settings, dict], dict] = lambda settings, config: config
    refuses: Callable[[Settings], Iterator[str]] = lambda settings: iter(())

    # ---- reading

    def settings(self, config: Config) -> dict[str, Any]:
        """What our class takes, from a config.json.

        Raises:
            UserError: it asks for what our class does not do.
        """
        problems = [
            f"{name}={config[name]!r}, where only {value!r} can be read"
            for name, value in self.theirs.items()
            if config.get(name, value) != value
        ]
        for key in (*self.keys.values(), *TOKEN_IDS):
            value = config.get(key.name, key.default)
            problems += [*key.problems(value), *_unequal(config, key, value)]
        if problems:
            raise UserError("config.json: " + "; ".join(problems))
        settings = {ours: key.ours(config.get(key.name, key.default)) for ours, key in self.keys.items()}
        if offset := self.offset(config.get("pad_token_id")):
            settings["position_offset"] = offset
        return self.reads(config, settings)

    def architecture(self, config: Config, settings: Settings) -> Architecture | None:
        """The class that the config names, where the family knows it; XLMRoberta... is Roberta..."""
        names = config.get("architectures") or [""]
        return next((each for each in self._fitting_first(settings) if str(names[0]).endswith(each.name)), None)

    @property
    def base(self) -> Architecture:
        """The class of the whole network alone, whose pooler may be missing."""
        return [each for each in self.architectures if each.asks not in TASKS and not each.without][-1]

    def heads(self, config: Config, settings: Settings, tensors: Tensors) -> dict[str, Rules]:
        """The heads that a folder holds: those of the class that it names, and others whose tensors are there.

        Raises:
            UserError: a class that has one of them has other settings by nature, or cannot be read at all.
        """
        named = self.architecture(config, settings)
        if named is not None and named.refused:
            raise UserError(f"{named.name} cannot be read: {named.refused}")
        of_heads = self._found(settings, tensors, is_for_task=named is not None and named.asks in TASKS)
        if named is not None and named.name != self.base.name:
            of_heads |= dict.fromkeys(named.heads, named)
        unlike = [reason for each in of_heads.values() for reason in _unlike(settings, each.fixed, each.name)]
        if unlike:
            raise UserError(f"config.json: {'; '.join(dict.fromkeys(unlike))}")
        return {head: each.heads[head] for head, each in of_heads.items()}

    def _found(self, settings: Settings, tensors: Tensors, is_for_task: bool) -> dict[str, Architecture]:
        """Heads of pre-training whose tensors are there -> a class that has them.

        One without tensors of its own, which scores by the embedding, is in every folder but those for a task.
        """
        modules = {name.rpartition(".")[0] for name in tensors}
        found: dict[str, Architecture] = {}
        for each in self._fitting_first(settings):
            if each.asks in TASKS:
                continue
            for head, rules in each.heads.items():
                if modules.intersection(rules.values()) if rules else not is_for_task:
                    found.setdefault(head, each)
        return found

    def _fitting_first(self, settings: Settings) -> list[Architecture]:
        """The classes, before all others those that have no other settings by nature."""
        return sorted(self.architectures, key=lambda each: bool(_unlike(settings, each.fixed, each.name)))

    def objectives(self, heads: Mapping[str, Rules]) -> list[str]:
        """What a model with these heads may have been trained with, the likeliest first: options of conf/objective."""
        pretrained = (each for each in self.architectures if each.asks not in TASKS)
        fitting = [each.asks for each in pretrained if each.heads.keys() <= heads.keys()]
        return list(dict.fromkeys([*fitting, self.base.asks]))

    def named(self, tensors: Tensors, settings: Settings) -> Tensors:
        """The tensors of a folder under the names of a class with heads, each once, and without what is no weight.

        Raises:
            UserError: a tensor that should be zero is not, or one that should be a copy differs.
        """
        tensors = self._renamed(tensors)
        tensors = {name: tensor for name, tensor in tensors.items() if not _fits(name, self.ignored)}
        problems = [f"{name} is not zero" for name in tensors if _fits(name, self.zeros) and tensors[name].any()]
        tensors = {name: tensor for name, tensor in tensors.items() if not _fits(name, self.zeros)}
        for copy, original in _of(self.copies, settings).items():
            if copy in tensors:
                tensor = tensors.pop(copy)
                if not torch.equal(tensors.setdefault(original, tensor), tensor):
                    problems.append(f"{copy} differs from {original}")
        if problems:
            raise UserError(f"the weights are not those of a {self.model_types[0]}: " + "; ".join(problems))
        return tensors

    def read(
        self,
        shapes: Mapping[str, torch.Size],
        tensors: Tensors,
        settings: Settings,
        heads: Mapping[str, Rules],
        without: str = "",
    ) -> Tensors:
        """Our weights, by name, from tensors as `named` gives them; all but those that a class goes `without`.

        Raises:
            UserError: they do not fit.
        """
        found = self._places(shapes, settings, heads)
        return to_ours(shapes, tensors, {name: place for name, place in found.items() if not _is_of(place, without)})

    # ---- writing

    def reasons(self, settings: Settings, asks: str, heads: set[str]) -> list[str]:
        """What keeps a model of ours from being written in the format; empty: nothing."""
        model_type = self.model_types[0]
        found = _unlike(settings, self.fixed, model_type) + list(self.refuses(settings))
        for name, key in self.keys.items():
            if key.words is not None and settings[name] not in key.words.values():
                found.append(f"model.{name}={settings[name]} is not among those of {model_type}")
        architecture = self.chosen(asks, heads)
        if architecture is None:
            classes = (f"{each.name} has {_named(each.heads)}" for each in self.architectures if _alike(each, asks))
            known = ", ".join(classes) or f"none is for {asks}"
            return [*found, f"no class that is known here has {_named(heads)} for {asks} ({known})"]
        if architecture.refused:
            return [*found, f"{architecture.name} cannot be written: {architecture.refused}"]
        needed = architecture.fixed | (AS_HEADS_READ if asks in TASKS else {})
        return found + _unlike(settings, needed, architecture.name)

    def chosen(self, asks: str, heads: set[str]) -> Architecture | None:
        """The class for what a model is asked, and for its heads."""
        fitting = (each for each in self.architectures if _alike(each, asks))
        return next((each for each in fitting if each.heads.keys() == heads - set(each.left_out)), None)

    def config(self, settings: Settings, pad_id: int | None) -> dict[str, Any]:
        """A config.json of these settings."""
        config: dict[str, Any] = {"model_type": self.model_types[0]}
        for ours, key in self.keys.items():
            value = settings[ours]
            if key.words is not None:
                value = next(word for word, meaning in key.words.items() if meaning == value)
            config |= dict.fromkeys((key.name, *key.also), value)
        return self.writes(settings, config | {"pad_token_id": pad_id})

    def write(self, weights: Tensors, settings: Settings, architecture: Architecture, pad_id: int | None) -> Tensors:
        """The tensors of a folder from our weights, by name."""
        offsets = settings.get("position_offset", 0), self.offset(pad_id)
        weights = {
            name: _moved(weight, *offsets) if name.endswith("embeddings.positions.weight") else weight
            for name, weight in weights.items()
        }
        found = self._places(weights, settings, architecture.heads)
        kept = {name: each for name, each in weights.items() if not _is_of(found[name], architecture.without)}
        tensors = to_theirs(kept, found)
        of_heads = {other for rules in architecture.heads.values() for other in rules.values()}
        return {
            name if name.rpartition(".")[0] in of_heads else architecture.wrapped + name: tensor
            for name, tensor in tensors.items()
        }

    # ---- small parts

    def _renamed(self, tensors: Tensors) -> Tensors:
        """The tensors under the names that they have in most classes."""
        names = {name: _modern(name) for name in tensors}
        for wrapped in filter(None, {each.wrapped for each in self.architectures}):
            names = {name: new.removeprefix(wrapped) for name, new in names.items()}
        prefix = "" if any(new.startswith(self.prefix) for new in names.values()) else self.prefix
        return {prefix + new: tensors[name] for name, new in names.items()}

    def _places(self, names: Mapping[str, Any], settings: Settings, heads: Mapping[str, Rules]) -> dict[str, Place]:
        rules = {f"model.{name}": other for name, other in _of(self.body, settings).items()}
        for head, table in heads.items():
            rules |= {f"heads.{head}.{name}" if name else f"heads.{head}": other for name, other in table.items()}
        layers_per_block = settings["num_layers"] // (settings.get("num_groups") or settings["num_layers"])
        found = places(names, rules, layers_per_block)
        if unknown := [name for name, place in found.items() if place is None]:
            raise UserError(f"{self.model_types[0]} has no place for {', '.join(unknown)}")
        return found


def filled(settings: Settings) -> dict[str, Any]:
    """Settings with a number for what is null, as the same as another."""
    return {
        name: settings[SAME_AS[name]] if value is None and name in SAME_AS else value
        for name, value in settings.items()
    }


def refuse(reasons: Iterable[str]) -> None:
    """Raise UserError when there is a reason why a config.json cannot be read."""
    if listed := "; ".join(reasons):
        raise UserError(f"config.json cannot be read: {listed}")


def _unequal(config: Config, key: Key, value: Any) -> list[str]:
    return [
        f"{other}={config[other]!r} and {key.name}={value!r}, which must be the same"
        for other in key.also
        if config.get(other, value) != value
    ]


def _is_of(place: Place, pattern: str) -> bool:
    return bool(pattern) and re.match(pattern, place.names[0]) is not None


def _alike(architecture: Architecture, asks: str) -> bool:
    """Whether a class is one for a kind of task, or one of pre-training."""
    return architecture.asks == asks if asks in TASKS else architecture.asks not in TASKS


def _unlike(settings: Settings, needed: Settings, what: str) -> list[str]:
    """The settings that are not as `what` has them by nature."""
    return [
        f"{name if '.' in name else f'model.{name}'}={settings[name]}, and {what} has {value} only"
        for name, value in needed.items()
        if settings.get(name, value) != value
    ]


def _named(heads: Iterable[str]) -> str:
    return f"the heads {', '.join(sorted(heads))}" if heads else "no head"


def _of(table: Any, settings: Settings) -> Any:
    return table(settings) if callable(table) else table


def _modern(name: str) -> str:
    """TensorFlow's names of a norm's weights, which old files have."""
    return re.sub(r"\bgamma$", "weight", re.sub(r"\bbeta$", "bias", name))


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _moved(positions: Tensor, ours: int, theirs: int) -> Tensor:
    """Position embeddings with so many rows before the first token's as the format has; those are never read."""
    if ours == theirs:
        return positions
    return torch.cat([positions.new_zeros(theirs, positions.shape[1]), positions[ours:]])
