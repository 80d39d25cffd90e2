"""Shuffled, resumable batches from stores."""
