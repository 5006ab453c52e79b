"""lmlab: a config-driven lab for self-supervised language models."""

__version__ = "0.1.0"
