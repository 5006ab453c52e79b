"""Text: corpora, tokenizers, the units they are cut into, and the order in which units are read."""
