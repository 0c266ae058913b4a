"""Training: schedules, distillation, the loop, checkpoints; fitting the accuracy predictor."""
