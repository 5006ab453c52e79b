"""The tasks of the world: each module holds makers, functions that make one labelled row from a drawn scene."""
