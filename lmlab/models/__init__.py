"""The networks: token ids in, hidden states out. This room imports torch only."""
