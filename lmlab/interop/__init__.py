"""Models from and to the Hugging Face format: one file a family, and one engine that reads them in both directions."""
