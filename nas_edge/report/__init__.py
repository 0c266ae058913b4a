"""Plots of what searches found. matplotlib is imported late: it comes with the extra `report`."""
