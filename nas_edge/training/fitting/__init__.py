"""The accuracy predictor, fitted to measured subnets."""
