"""Types of the keys that belong to no class: the root of each command, and the trainer.

Options with a `_target_` are not mirrored here: `lmlab.config.check` binds their keys to the class's own
signature, so one class and one YAML is the whole job. What each key means stands beside it in the YAML.
"""

import importlib
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from lmlab.config import conf_dir


@dataclass
class Trainer:
    """When training stops, how much is one step, when it is measured and saved, and on which machine."""

    max_steps: int | None = None
    max_tokens: int | None = None
    max_minutes: float | None = None
    max_epochs: float | None = None
    batch_tokens: int | None = None
    batch_size: int | None = None
    micro_batch_tokens: int = 8192
    max_grad_norm: float | None = 1.0
    log_every: int = 10
    eval_every: int | None = 200
    eval_tokens: int | None = None
    save_every: int | None = 200
    keep_checkpoints: int = 2
    best_metric: str = "loss"
    best_mode: str = field(default="auto", metadata={"words": ("auto", "min", "max")})
    patience: int | None = None
    precision: str = field(default="auto", metadata={"words": ("auto", "fp32", "bf16")})
    device: str = field(default="auto", metadata={"words": ("auto", "cpu", "cuda", "mps")})
    compile: bool = False


@dataclass
class Pretrain:
    """Root of `lmlab pretrain`. The groups are `Any`: their classes know what they take."""

    corpus: Any = None
    tokenizer: Any = None
    model: Any = None
    corruption: Any = None
    objective: Any = None
    optimizer: Any = None
    schedule: Any = None
    trainer: Trainer = field(default_factory=Trainer)
    seq_len: int = 32
    seed: int = 0
    init: str | None = None
    then: dict[str, Any] = field(default_factory=dict)
    resume: str | None = None
    data_dir: str | None = None
    cache_dir: str | None = None
    notes: str = ""


@dataclass
class Audit(Pretrain):
    """Root of `lmlab audit`: that of pretraining, so that it takes every experiment."""

    examples: int | None = 2000
    format: str = field(default="table", metadata={"words": ("table", "json")})


@dataclass
class Plan(Pretrain):
    """Root of `lmlab plan`: that of pretraining, so that it takes every experiment."""

    vocab_size: int | None = None
    utilisation: float = 0.4
    accelerators: dict[str, Any] = field(default_factory=dict)
    measure: bool = False
    all: bool = False
    picture: str = "outputs/plan/sizes.png"
    format: str = field(default="table", metadata={"words": ("table", "json")})


@dataclass
class Finetune:
    """Root of `lmlab finetune`; `model`, `tokenizer` and `corpus` are read with `init=random` only."""

    task: Any = None
    template: Any = None
    formulation: Any = None
    ensemble: Any = None
    tuning: Any = None
    model: Any = None
    tokenizer: Any = None
    corpus: Any = None
    optimizer: Any = None
    schedule: Any = None
    trainer: Trainer = field(default_factory=Trainer)
    init: str = "latest"
    seq_len: int | None = None
    seed: int = 0
    seeds: int = 1
    suite: Any = None
    evaluate_on: list[str] = field(default_factory=list)
    learning_rates: list[float] | None = None
    resume: str | None = None
    data_dir: str | None = None
    cache_dir: str | None = None
    notes: str = ""


@dataclass
class Evaluate:
    """Root of `lmlab evaluate`."""

    run: str = "latest"
    task: Any = None
    template: Any = None
    formulation: Any = None
    corpus: Any = None
    objective: Any = None
    corruption: Any = None
    seq_len: int | None = None
    max_tokens: int | None = None
    device: str = field(default="auto", metadata={"words": ("auto", "cpu", "cuda", "mps")})
    precision: str = field(default="auto", metadata={"words": ("auto", "fp32", "bf16")})
    format: str = field(default="table", metadata={"words": ("table", "json")})
    data_dir: str | None = None
    cache_dir: str | None = None


@dataclass
class Fill:
    """Root of `lmlab fill`."""

    run: str = "latest"
    top_k: int = 5
    device: str = field(default="auto", metadata={"words": ("auto", "cpu", "cuda", "mps")})
    format: str = field(default="table", metadata={"words": ("table", "json")})


@dataclass
class Generate:
    """Root of `lmlab generate`."""

    run: str = "latest"
    max_new_tokens: int = 64
    temperature: float = 0.8
    top_k: int | None = 40
    top_p: float = 1.0
    seed: int = 0
    num_samples: int = 1
    device: str = field(default="auto", metadata={"words": ("auto", "cpu", "cuda", "mps")})
    format: str = field(default="table", metadata={"words": ("table", "json")})


@dataclass
class Export:
    """Root of `lmlab export`."""

    run: str = "latest"
    to: str | None = None
    format: str = field(default="table", metadata={"words": ("table", "json")})


ROOTS = {
    "pretrain": Pretrain,
    "finetune": Finetune,
    "evaluate": Evaluate,
    "fill": Fill,
    "generate": Generate,
    "audit": Audit,
    "plan": Plan,
    "export": Export,
}


def allowed_words(schema: type) -> dict[str, tuple[str, ...]]:
    """The keys of a schema that take one of a few words, and those words."""
    return {each.name: each.metadata["words"] for each in fields(schema) if "words" in each.metadata}


@cache
def register() -> None:
    """Make known to Hydra: the roots (`<command>_schema`), the sweeper, and the resolvers of the YAML files."""
    for command, root in ROOTS.items():
        node = OmegaConf.structured(root)
        for key in {"then", "accelerators"} & set(node):
            OmegaConf.set_struct(node[key], False)  # its keys are the user's own
        ConfigStore.instance().store(name=f"{command}_schema", node=node, provider="lmlab")
    Plugins.instance()  # Hydra loads its own sweeper, of which ours is a kind, here and anew: ours must come later
    importlib.import_module("lmlab.config.sweeper").register_sweeper()
    OmegaConf.register_new_resolver("lmlab.or", lambda value, other: other if value is None else value, replace=True)
    OmegaConf.register_new_resolver("lmlab.published", _published, replace=True)
    OmegaConf.register_new_resolver("lmlab.unpublished", _unpublished, replace=True)


def _published(key: str, other: Any = None, *, _root_: DictConfig) -> Any:
    """`${lmlab.published:tokens,1000}`: what is published about the model (`_published_` in its YAML), else 1000."""
    value = OmegaConf.select(_root_, f"model._published_.{key}")
    if isinstance(value, float) and value.is_integer():
        return int(value)  # YAML reads 3.0e+11 as a float
    return other if value is None else value


def _unpublished(key: str, value: Any, *, _root_: DictConfig) -> Any:
    """`${lmlab.unpublished:tokens,1000}`: 1000 unless the fact is published; then null."""
    return value if _published(key, _root_=_root_) is None else None


def compose(command: str, overrides: list[str] | None = None, config_dir: str | None = None) -> DictConfig:
    """The config of a command as `lmlab <command> <overrides>` would see it, without running anything.

    `config_dir` is a further folder of options, as `--config-dir` names one. The `hydra` node is kept:
    `config.hydra.runtime.choices` tells which option each group took. Raises Hydra's own exceptions.
    Works within a job that Hydra runs, too.
    """
    register()
    further = [f"hydra.searchpath=['file://{config_dir}']"] if config_dir else []
    around = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra_compose(command, [*(overrides or []), *further], return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = around
