"""How a task is put to a model: inputs, question, loss and answer."""
