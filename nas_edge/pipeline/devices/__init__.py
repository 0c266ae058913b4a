"""Targets and the devices behind them: described, reached, added, examined."""
