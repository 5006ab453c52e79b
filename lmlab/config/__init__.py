"""The words of an experiment: where their YAML files lie, what they may hold, and how they become objects."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder of the configs: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
