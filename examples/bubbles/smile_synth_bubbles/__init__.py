"""A generator of rising bubbles for smile-synth."""
