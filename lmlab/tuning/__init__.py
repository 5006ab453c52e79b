"""Which weights move during fine-tuning, and when."""
