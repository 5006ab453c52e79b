"""lmlab: a config-driven lab for self-supervised language models.

import lmlab
run = lmlab.run("pretrain", ["model=bert", "objective=mlm", "trainer.max_steps=500"])
model = lmlab.load(run)
model.fill("Return a new [MASK] object.")
encoder = lmlab.load("hf:bert-base-uncased")  # or a folder in the Hugging Face format
"""

from typing import Any

__version__ = "0.1.0"


def load(source: Any = "latest") -> Any:
    """Load a pre-trained model with its tokenizer; see `lmlab.loading.load`."""
    from lmlab.loading import load

    return load(source)


def run(command: str, overrides: list[str] | None = None) -> Any:
    """Run a command from Python as the command line would; see `lmlab.commands.session.run`."""
    from lmlab.commands.session import run

    return run(command, overrides)
