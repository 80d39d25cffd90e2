"""What every generator, ours or a user's, must pass."""

from smile_synth.testing.contract import GeneratorContract, Subject

__all__ = ["GeneratorContract", "Subject"]
