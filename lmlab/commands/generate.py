"""lmlab generate: let a model continue a text.

lmlab generate "The function returns" max_new_tokens=40 temperature=0.7
"""

import json
import sys

from omegaconf import DictConfig

from lmlab.commands.session import relative
from lmlab.config.check import check
from lmlab.engine.precision import choose_device
from lmlab.loading import run_that_can


def main(config: DictConfig, text: str) -> None:
    """Print `num_samples` continuations of `text`, the prompt included."""
    check(config)
    model = run_that_can("generate", config.run)
    model.learner.to(choose_device(config.device))
    continuations = model.generate(
        text,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        seed=config.seed,
        num_samples=config.num_samples,
    )
    if config.format == "json":
        print(
            json.dumps(
                {"run": model.origin, "prompt": text, "continuations": continuations},
                ensure_ascii=False,
            )
        )
        return
    for number, continuation in enumerate(continuations, start=1):
        if len(continuations) > 1:
            print(f"--- {number}")
        print(text + joint(text, continuation) + continuation)
    print(f"run: {model.source or relative(model.run.path)}", file=sys.stderr)


def joint(prompt: str, continuation: str) -> str:
    """A space where a tokenizer that forgets spaces (WordPiece) has lost the one between prompt and continuation."""
    return " " if prompt[-1:].isalnum() and continuation[:1].isalnum() else ""
