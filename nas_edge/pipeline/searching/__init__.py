"""Searching: preparation, the closed loop with the device, what is asked and answered."""
