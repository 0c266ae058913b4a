"""The loop that every training goes through: steps, schedule, checkpoints, what is told of it."""
