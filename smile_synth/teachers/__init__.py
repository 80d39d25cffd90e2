"""Frozen image models whose features are the target."""
