"""Published weights: fetched, checked, made into bundles."""
