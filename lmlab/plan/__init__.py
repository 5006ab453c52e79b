"""What a training run costs before anything is spent: parameters, FLOPs, memory and time, from shapes alone."""
