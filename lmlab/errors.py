"""The one exception for mistakes of the user: told in a single message, without a traceback, with exit code 1."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake of the user's. The message says what is wrong, where, and what would be right."""


class Diverged(UserError):
    """A loss that is no longer a number: the learning rate was too high, or the number format too narrow."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the name closest to `name`, or "" when none is close."""
    matches = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f", did you mean '{matches[0]}'?" if matches else ""
