"""The contract of generators, ours and a user's."""

from smile_synth.generator.base import Generator, GeneratorContext
from smile_synth.generator.labels import UNDEFINED_CLASS, LabelSpec

__all__ = ["UNDEFINED_CLASS", "Generator", "GeneratorContext", "LabelSpec"]
