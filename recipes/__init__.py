"""Recipes that come with smile-synth; their headers say what they are for and what to expect."""
