"""The plan of a training run: what was counted, and the figures that follow from it."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lmlab.plan.flops import Flops
from lmlab.plan.machines import Accelerator
from lmlab.plan.memory import Memory
from lmlab.plan.published import Published

PF_DAY = 1e15 * 86_400  # FLOP: a petaFLOP/s for a day
PER_PARAMETER = 6  # FLOP a token and parameter: a product of two in the forward pass, twice as many backward


@dataclass(frozen=True)
class Network:
    """What is trained.

    Attributes:
        layout, vocab_size: of the model.
        parameters: by part.
        counted: those that the published figure counts.
        published: about the model.
        repeated: of shared layers, once for every layer beyond the first that they stand in.
        at_most: the vocabulary may be smaller: the tokenizer is trained.
    """

    layout: str
    vocab_size: int
    parameters: Counter[str]
    counted: int
    published: Published
    repeated: int = 0
    at_most: bool = False

    @property
    def total(self) -> int:
        return self.parameters.total()

    @property
    def difference(self) -> float | None:
        """By how much the count exceeds the published figure, as a share of it."""
        return self.counted / self.published.parameters - 1 if self.published.parameters else None

    def rule_of_thumb(self, tokens: float) -> float:
        """6 N D: FLOPs of training as papers estimate them, without attention scores.

        Parameters that several layers share count in N for each of them.
        """
        return self.per_parameter * (self.counted + self.repeated) * tokens

    @property
    def per_parameter(self) -> int:
        """FLOP a token and parameter of the rule.

        A token of an encoder-decoder passes one half of it, which makes 3 N D (Brown et al. 2020, arXiv:2005.14165,
        appendix D).
        """
        return PER_PARAMETER // 2 if self.layout == "encoder-decoder" else PER_PARAMETER


@dataclass(frozen=True)
class Step:
    """One step of the optimizer.

    Attributes:
        seq_len: tokens of a sequence; targets of text pairs are not counted, as everywhere in a config.
        sequences: of a step.
        micro_sequences: of a forward pass.
        flops: of one micro-batch.
    """

    seq_len: int
    sequences: int
    micro_sequences: int
    flops: Flops

    @property
    def tokens(self) -> int:
        return self.sequences * self.seq_len

    def per_token(self, flops: float) -> float:
        """A number of a micro-batch, for each of its tokens."""
        return flops / (self.micro_sequences * self.seq_len)

    @property
    def flops_per_token(self) -> float:
        return self.per_token(self.flops.total)

    @property
    def flops_per_step(self) -> float:
        return self.flops_per_token * self.tokens


@dataclass(frozen=True)
class Budget:
    """How much is read in training; None: not limited in this way. The first limit that is reached counts."""

    max_steps: int | None = None
    max_tokens: int | None = None
    max_minutes: float | None = None

    def tokens(self, step: Step, flops_per_second: float) -> float | None:
        """Tokens that are read on a machine of a speed; None where only the length of the text ends the training."""
        limits = [
            None if self.max_steps is None else self.max_steps * step.tokens,
            self.max_tokens,
            None if self.max_minutes is None else 60 * self.max_minutes * flops_per_second / step.flops_per_token,
        ]
        return min((limit for limit in limits if limit is not None), default=None)


@dataclass(frozen=True)
class Machine:
    """Where training runs.

    Attributes:
        name: device and precision.
        flops: a second, of matrix products at best.
        devices: how many of them.
        memory: of all devices together, that training needs.
    """

    name: str
    flops: float
    devices: int
    memory: Memory


@dataclass(frozen=True)
class Preset:
    """A row of the table of all presets.

    Attributes:
        name: of the option.
        shape: layers, hidden size and heads.
        network, step: as published, where it is.
    """

    name: str
    shape: str
    network: Network
    step: Step

    @property
    def training_flops(self) -> float | None:
        """Of as many tokens as are published."""
        tokens = self.network.published.tokens
        return None if tokens is None else tokens * self.step.flops_per_token


@dataclass(frozen=True)
class Plan:
    """What `lmlab plan` shows.

    Attributes:
        words: the sentence of the experiment.
        network, step, budget: see above.
        here: this machine.
        accelerators: others, as many of each as hold the memory.
        utilisation: share of its best speed that a machine reaches.
    """

    words: Mapping[str, str]
    network: Network
    step: Step
    budget: Budget
    here: Machine
    accelerators: list[Machine]
    utilisation: float

    @property
    def tokens(self) -> float | None:
        """Of the run on this machine."""
        return self.budget.tokens(self.step, self.utilisation * self.here.flops)

    def seconds(self, tokens: float, machine: Machine) -> float:
        """Of training on all devices of a machine."""
        return self.step.flops_per_token * tokens / (self.utilisation * machine.flops * machine.devices)


def enough_of(name: str, device: Accelerator, memory: Memory) -> Machine:
    """As many accelerators as hold the memory, were it shared equally."""
    return Machine(name, device.flops, math.ceil(memory.total / device.memory), memory)
