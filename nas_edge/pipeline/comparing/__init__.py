"""Comparing strategies on one problem at equal evaluations, with the statistics that such a claim needs."""
