"""lmlab fill: let a model fill in the blanks of a text.

lmlab fill "Return a new [MASK] object." top_k=5
"""

import json
import sys

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmlab.commands.session import relative
from lmlab.config.check import check
from lmlab.engine.precision import choose_device
from lmlab.loading import BLANK, run_that_can


def main(config: DictConfig, text: str) -> None:
    """Print the `top_k` most likely contents of each blank of `text`."""
    check(config)
    model = run_that_can("fill", config.run)
    model.learner.to(choose_device(config.device))
    blanks = model.fill(text, config.top_k)
    if config.format == "json":
        answers = [[candidate._asdict() for candidate in blank] for blank in blanks]
        print(json.dumps({"run": model.origin, "text": text, "blanks": answers}, ensure_ascii=False))
        return
    table = Table(box=None, padding=(0, 2), show_header=len(blanks) > 1)
    for number in range(1, len(blanks) + 1):
        table.add_column(f"blank {number}")
        table.add_column("", justify="right", style="dim")
    for row in zip(*blanks, strict=True):
        table.add_row(*(cell for each in row for cell in (Text(each.text), f"{each.probability:.1%}")))
    console = Console(highlight=False)
    best = iter(blank[0].text for blank in blanks)
    console.print(Text(BLANK.sub(lambda _: next(best), text), style="bold"), soft_wrap=True)
    console.print(table)
    print(f"run: {model.source or relative(model.run.path)}", file=sys.stderr)
