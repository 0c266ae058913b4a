"""One network on its own: from scratch, fine-tuned, for int8."""
