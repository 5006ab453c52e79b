"""Sweeps over sentences: a list of small grids, where one full grid would hold points that nobody wants.

    hydra:
      mode: MULTIRUN  # a sweep without -m
      sweeper:
        sentences:  # each is a job, or, with commas, a grid of them ...
          - objective=mlm corruption.rate=0.15,0.5
          - objective=span_corruption corruption.rate=0.15 corruption.mean_length=2,3,5,10
        params:  # ... at every point of this grid, as with Hydra's own sweeper
          seed: 0,1

Words on the command line are stronger than both: with `seed=0` each of these is run once.
"""

import importlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins


class SentenceSweeper(BasicSweeper):
    """Hydra's sweeper, with a list of sentences times the grid.

    Args:
        sentences: words as on the command line, commas between several values; none: the grid alone.
        params: key -> values separated by commas.
        max_batch_size: most jobs that are handed to a launcher at once.
    """

    __module__ = "hydra_plugins.lmlab"  # see register_sweeper

    def __init__(
        self,
        sentences: Sequence[str] = (),
        params: dict[str, str] | None = None,
        max_batch_size: int | None = None,
    ):
        super().__init__(max_batch_size, params)
        self.sentences = [shlex.split(sentence) for sentence in sentences]

    def split_arguments(self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The words of every job, in batches. Of two words for one key the later counts: `overrides` come last."""
        parse = OverridesParser.create(self.hydra_context.config_loader).parse_overrides
        grids = [BasicSweeper.split_arguments([*parse(words), *overrides], None) for words in self.sentences or [[]]]
        jobs = {tuple(job): None for (grid,) in grids for job in grid}  # equal ones once
        return list(self.split_overrides_to_chunks([list(job) for job in jobs], max_batch_size))


@dataclass
class SentenceSweeperConf:
    """What `hydra.sweeper` holds."""

    _target_: str = f"{SentenceSweeper.__module__}.{SentenceSweeper.__name__}"
    sentences: list[str] = field(default_factory=list)
    params: dict[str, str] | None = None
    max_batch_size: int | None = None


def register_sweeper() -> None:
    """Make the sweeper known to Hydra as `hydra/sweeper=sentences`.

    Hydra makes sweepers of the package `hydra_plugins` only, which exists where other plugins are installed; this
    module becomes a part of it, so that lmlab stays one package.
    """
    try:
        package = importlib.import_module("hydra_plugins")
    except ModuleNotFoundError:
        package = ModuleType("hydra_plugins")
        package.__path__ = []
        sys.modules["hydra_plugins"] = package
    sys.modules[SentenceSweeper.__module__] = package.lmlab = sys.modules[__name__]
    Plugins.instance().register(SentenceSweeper)
    ConfigStore.instance().store("sentences", SentenceSweeperConf, group="hydra/sweeper", provider="lmlab")
