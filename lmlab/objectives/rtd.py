"""Replaced-token detection (ELECTRA: Clark et al. 2020, arXiv:2003.10555)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmlab.batch import Batch
from lmlab.corruptions.base import Corruption
from lmlab.objectives.base import Example, Question, Score
from lmlab.objectives.mlm import Mlm
from lmlab.text.passage import Pair, Passage

VALIDATION_SEED = 2020  # one draw of replacements for all evaluations, so that they can be compared


class Rtd(Question):
    """Let a small masked language model fill the noise; ask the model of every token whether it was replaced.

    The generator's words are drawn from its distribution; one that happens to be the original counts as original. No
    gradient flows through the draw: the generator learns by its own masked-language-model loss. Both read tokens,
    positions and segments by the same embeddings, and the generator scores the vocabulary by them too.

    The loss is the mean of the generator over the noise, and `discriminator_weight` times the mean of the model over
    all tokens but padding.

    Args:
        corruption: what the generator sees; ELECTRA masks all noise.
        generator: an encoder that can share the embeddings of the model, a quarter to a half of its size.
        cls_id, sep_id: of the tokenizer.
        discriminator_weight: factor of the model's loss, lambda in the paper.
    """

    layouts = ("encoder",)
    corruption_needs = ("keeps_length", "hides", "selects")
    terms = ("rtd", "generator")

    def __init__(
        self,
        corruption: Corruption,
        generator: nn.Module,
        cls_id: int,
        sep_id: int,
        discriminator_weight: float = 50.0,
    ):
        if generator.layout != "encoder":
            raise ValueError(f"the generator must be an encoder, not a {generator.layout} ({type(generator).__name__})")
        if discriminator_weight <= 0:
            raise ValueError(f"discriminator_weight={discriminator_weight} must be above 0")
        self.corruption, self.generator = corruption, generator
        self.asked_of_generator = Mlm(corruption, cls_id, sep_id)
        self.weights = {"rtd": discriminator_weight}

    def block_length(self, seq_len: int) -> int:
        return self.asked_of_generator.block_length(seq_len)

    def example(self, unit: Passage | Pair, generator: np.random.Generator) -> Example:
        return self.asked_of_generator.example(unit, generator)

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        self.generator.share_embeddings(model)
        return {
            "rtd": discriminator_head(model.hidden_size),
            "generator": self.generator,
            "generator_vocabulary": self.generator.vocabulary_head(),
        }

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"rtd": batch.num_tokens, "generator": len(batch.targets["labels"])}

    def ask(self, model: nn.Module, heads: nn.ModuleDict, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Run both; the hidden states are the model's at all real tokens, then at the first tokens if they are asked.

        The targets are those of the batch with `replaced` (R,), 1 at real tokens that are not the original, and
        `proposal` (N, G), the generator's hidden states at the noise.
        """
        inputs, labels = batch.inputs, batch.targets["labels"]
        masked, first_tokens = inputs["positions"].tensor_split([len(labels)])
        proposal = heads["generator"](**inputs | {"positions": masked})
        drawn = heads["generator_vocabulary"].sample(proposal, _noise(model.training, labels.device))
        seen = inputs["input_ids"].flatten().index_copy(0, masked, drawn)
        replaced = torch.zeros(seen.shape, device=seen.device).index_copy(0, masked, (drawn != labels).float())
        real = _real_positions(inputs)
        hidden = model(
            **inputs | {"input_ids": seen.view_as(inputs["input_ids"]), "positions": torch.cat([real, first_tokens])}
        )
        return hidden, batch.targets | {"replaced": replaced[real], "proposal": proposal}

    def losses(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        rtd = F.binary_cross_entropy_with_logits(*_answers(hidden, heads, targets), reduction="sum")
        generator = heads["generator_vocabulary"].cross_entropy(targets["proposal"], targets["labels"])
        return {"rtd": self.weights["rtd"] * rtd, "generator": generator}

    def scores(self, hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> dict[str, Score]:
        logits, replaced = _answers(hidden, heads, targets)
        loss = F.binary_cross_entropy_with_logits(logits, replaced, reduction="sum")
        generator = heads["generator_vocabulary"].score(targets["proposal"], targets["labels"])
        return {"rtd": Score(loss, ((logits > 0) == replaced.bool()).sum()), "generator": Score(*generator)}


def discriminator_head(hidden_size: int) -> nn.Module:
    """Make the map from a hidden state to the logit of having been replaced: a dense layer, GELU and a linear one.

    The last starts at zero, undecided: at the paper's small random weights all tokens get nearly the same logit, and
    most being original, the first loss would lie a few percent beside ln 2.
    """
    dense, answer = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, 1)
    nn.init.trunc_normal_(dense.weight, std=0.02, a=-0.04, b=0.04)
    for zero in (dense.bias, answer.weight, answer.bias):
        nn.init.zeros_(zero)
    return nn.Sequential(dense, nn.GELU(), answer)


def _noise(training: bool, device: torch.device) -> torch.Generator | None:
    """Torch's own generator, which is seeded in every step, while training; the same draws in every evaluation."""
    return None if training else torch.Generator(device).manual_seed(VALIDATION_SEED)


def _real_positions(inputs: dict[str, Tensor]) -> Tensor:
    """Flat indices of all tokens but padding."""
    if "attention_mask" in inputs:
        return inputs["attention_mask"].flatten().nonzero().squeeze(1)
    return torch.arange(inputs["input_ids"].numel(), device=inputs["input_ids"].device)


def _answers(hidden: Tensor, heads: nn.ModuleDict, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits of having been replaced, and the truth, both (R,)."""
    replaced = targets["replaced"]
    return heads["rtd"](hidden[: len(replaced)]).squeeze(-1).float(), replaced
