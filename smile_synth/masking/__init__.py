"""Which tokens are hidden from the student."""
