"""The loop that trains everything. It knows no objective, task or model by name."""
