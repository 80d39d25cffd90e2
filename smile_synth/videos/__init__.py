"""Labelled video files: lists, frame positions, decoding, and their exchange with stores."""
