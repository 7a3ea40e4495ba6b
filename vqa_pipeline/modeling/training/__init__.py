"""Training: an explicit loop over batches that can be stopped at any step and goes on as if it had not been."""
