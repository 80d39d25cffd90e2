"""Everything that a YAML may say, checked key by key; imports no torch."""

from smile_synth.recipe.recipe import Recipe, load_recipe

__all__ = ["Recipe", "load_recipe"]
