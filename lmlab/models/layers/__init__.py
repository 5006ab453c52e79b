"""The parts that every family is composed of."""
