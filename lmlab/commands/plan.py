"""lmlab plan: what a pre-training run costs, before any of it is spent.

lmlab plan model=gpt3_175b
lmlab plan model=bert objective=mlm_nsp optimizer=adafactor seq_len=128 trainer.batch_tokens=65536
lmlab plan --all
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from lmlab.commands.source import with_published
from lmlab.config.assemble import cache_of
from lmlab.config.build import build, to_plain
from lmlab.config.check import BUDGETS, check
from lmlab.config.nodes import value_of
from lmlab.config.options import folders_of_job, given_keys, option_files, read_option
from lmlab.config.planning import (
    batches_of,
    first_micro_batch,
    objective_for,
    skeleton_of,
    tokenizer_of,
    with_objective,
)
from lmlab.engine.precision import choose_device, choose_dtype
from lmlab.errors import UserError
from lmlab.objectives.base import Learner
from lmlab.plan import picture, show
from lmlab.plan.calls import Calls, calls_of
from lmlab.plan.estimate import Budget, Machine, Network, Plan, Preset, Step, enough_of
from lmlab.plan.flops import flops_of
from lmlab.plan.machines import ACCELERATOR_DTYPE, Accelerator, measured_rate
from lmlab.plan.memory import memory_of
from lmlab.plan.parts import depths_of, parameters_of, repeated_in
from lmlab.plan.published import Published

OF_ONE_RUN = {"model", "objective", "corruption", "experiment", "seq_len"}  # words that say how one model is trained


def main(config: DictConfig) -> None:
    """Plan the run that `config` describes, or compare all presets."""
    if config.all:
        refuse_words_of_one_run()
        check(config)
        compare_presets(config)
        return
    config, objective = with_published(config), HydraConfig.get().runtime.choices.objective
    if objective is None:
        objective = objective_for(to_plain(config.model))
        config = with_published(with_objective(objective))
    check(with_an_end(config))
    plan = plan_of(config, objective)
    if config.format == "json":
        print(json.dumps(show.as_json(plan), ensure_ascii=False))
    else:
        show.show(plan)


def with_an_end(config: DictConfig) -> DictConfig:
    """The config with a budget where it has none: a run must end, its plan may leave open when."""
    config = config.copy()
    if all(config.trainer[name] is None for name in BUDGETS):
        config.trainer.max_steps = 1
    return config


def plan_of(config: DictConfig, objective: str) -> Plan:
    """Count the networks of a config on one micro-batch, and what training them takes here and elsewhere."""
    learner, network, step, passes = count(config)
    optimizer, trainer = build(config.optimizer), config.trainer
    device = choose_device(trainer.device)
    dtype = choose_dtype(trainer.precision, device)
    here = Machine(
        f"this machine: {device}, {str(dtype).removeprefix('torch.')}",
        measured_rate(device, dtype, cache_of(config), anew=config.measure),
        devices=1,
        memory=memory_of(learner, passes, optimizer, dtype, on_cpu=device.type == "cpu"),
    )
    elsewhere = memory_of(learner, passes, optimizer, ACCELERATOR_DTYPE, on_cpu=False)
    choices = HydraConfig.get().runtime.choices
    words = {"model": choices.model, "objective": objective, "optimizer": choices.optimizer}
    return Plan(
        words,
        network,
        step,
        Budget(trainer.max_steps, trainer.max_tokens, trainer.max_minutes),
        here,
        [enough_of(name, each, elsewhere) for name, each in accelerators_of(config)],
        config.utilisation,
    )


def count(config: DictConfig) -> tuple[Learner, Network, Step, list[Calls]]:
    """The learner of a config, its parameters, its operations in a step, and the calls of a micro-batch by pass."""
    tokenizer, published = tokenizer_of(config), Published.of(to_plain(config.model))
    learner = skeleton_of(config, tokenizer)
    batches = batches_of(config, tokenizer, learner)
    passes = calls_of(learner, first_micro_batch(batches))
    model = learner.model
    network = Network(
        model.layout,
        model.vocab_size,
        parameters_of(learner),
        published.count(learner),
        published,
        repeated_in(model),
        tokenizer.at_most,
    )
    step = Step(config.seq_len, batches.batch_size, batches.micro_batch_size, flops_of(learner, passes))
    return learner, network, step, passes


def accelerators_of(config: DictConfig) -> Iterator[tuple[str, Accelerator]]:
    """Those of the config by name. Raises UserError when one is not described in full."""
    for name, facts in to_plain(config.accelerators).items():
        if not _describe_a_device(facts):
            raise UserError(f"accelerators.{name} needs flops (a second) and memory (bytes), both above 0, not {facts}")
        yield name, Accelerator(**facts)


def _describe_a_device(facts: Any) -> bool:
    if not isinstance(facts, dict) or set(facts) != {"flops", "memory"}:
        return False
    return all(isinstance(value, int | float) and value > 0 for value in facts.values())


# --- all presets ---


def refuse_words_of_one_run() -> None:
    """Raise UserError when the command line says how one model is trained: every preset is compared as published."""
    if ignored := sorted({key.split(".")[0] for key in given_keys()} & OF_ONE_RUN):
        raise UserError(f"{', '.join(ignored)}: --all compares every preset as published; these words go without --all")


def compare_presets(config: DictConfig) -> None:
    """Show all presets as they were trained, and draw the sizes of some of them."""
    presets, left_out, composed = [], {}, {}
    for name in option_files("model", folders_of_job()):
        try:
            presets.append(preset(name, composed))
        except UserError as error:
            left_out[name] = str(error)
    if config.format == "json":
        drawn = draw(config, presets)
        print(json.dumps(show.presets_as_json(presets, left_out, drawn), ensure_ascii=False))
    else:
        show.show_presets(presets, left_out)
        sys.stdout.flush()  # the table is there before the picture is
        if drawn := draw(config, presets):
            print(f"Picture: {' and '.join(map(str, drawn))}")


def draw(config: DictConfig, presets: Sequence[Preset]) -> list[Path]:
    """The files of the picture; none, and a line on standard error, where it cannot be drawn."""
    try:
        return picture.draw(Path(config.picture), {each.name: each.network.counted for each in presets})
    except ModuleNotFoundError:
        print(picture.MISSING, file=sys.stderr)
    except OSError as error:
        print(f"No picture: {config.picture} cannot be written: {error.strerror}", file=sys.stderr)
    return []


def preset(name: str, composed: dict[str, DictConfig]) -> Preset:
    """Count one option of `model` as it was trained; `composed` are the configs by objective so far."""
    node = read_option("model", name, folders_of_job())
    objective = objective_for(node)
    if objective not in composed:
        composed[objective] = with_objective(objective)
    config = composed[objective]
    with open_dict(config):
        config.model = node
    learner, network, step, _ = count(config)
    shape = (depths_of(learner.model), learner.model.hidden_size, value_of(node, "num_heads") or "-")
    return Preset(name, " / ".join(map(str, shape)), network, step)
