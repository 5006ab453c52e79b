"""What the model is asked, and the loss."""
