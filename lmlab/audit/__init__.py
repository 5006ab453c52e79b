"""What a model is really shown and asked: counted on the real data path, held against what is expected of it."""
