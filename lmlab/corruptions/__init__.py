"""What the model is allowed to see: pure functions of tokens and a random generator."""
