"""The dataset card and its machine-readable twin."""
