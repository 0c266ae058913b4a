"""Weight-sharing networks: elastic layers, extraction, batch-norm recalibration, starts from published weights."""
