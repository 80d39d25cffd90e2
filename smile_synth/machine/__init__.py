"""The machine that we run on: cores, and code compiled for it."""
