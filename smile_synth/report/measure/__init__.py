"""Statistics of a dataset, and the words for them."""
