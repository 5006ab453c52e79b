"""One short recipe per command. `lmlab.cli` imports the module of the command that was asked for, and no other."""
