"""Which families there are, and which of them a model belongs to."""

from collections.abc import Mapping
from typing import Any

from lmlab.errors import UserError, nearest
from lmlab.interop import albert, bart, bert, distilbert, electra, gpt1, gpt2, mobilebert, roberta, t5
from lmlab.interop.family import Family, Settings

FAMILIES: tuple[Family, ...] = tuple(
    module.FAMILY for module in (bert, roberta, albert, distilbert, electra, mobilebert, gpt1, gpt2, t5, bart)
)


def of_config(config: Mapping[str, Any]) -> Family:
    """The family that a config.json names. Raises UserError when none has that name."""
    model_type = config.get("model_type")
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = [name for family in FAMILIES for name in family.model_types]
    if model_type is None:
        raise UserError(f"config.json does not say model_type; it may be {', '.join(known)}")
    raise UserError(
        f"config.json: model_type={model_type!r} is not known{nearest(str(model_type), known)}; it may be"
        f" {', '.join(known)}"
    )


def of_model(target: str, settings: Settings, asks: str, heads: set[str]) -> Family:
    """The family whose format can say all of a model of ours; of several the one that it is most like.

    Raises:
        UserError: there is none; it says why.
    """
    same_class = [family for family in FAMILIES if family.target == target]
    if not same_class:
        targets = sorted({family.target for family in FAMILIES})
        raise UserError(f"{target} has no counterpart in transformers; these have: {', '.join(targets)}")
    reasons = {family: family.reasons(settings, asks, heads) for family in same_class}
    fitting = [family for family, found in reasons.items() if not found]
    if not fitting:
        lines = (f"  {family.model_types[0]}: {'; '.join(found)}" for family, found in reasons.items())
        raise UserError("no class of transformers can hold this model:\n" + "\n".join(lines))
    return max(fitting, key=lambda family: _likeness(family, settings))


def _likeness(family: Family, settings: Settings) -> int:
    return sum(settings[name] == value for name, value in family.usual.items())
