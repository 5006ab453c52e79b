"""A small generated world whose truth is known, told in two languages; see `lmlab.microworld.world`."""
