"""What a trained model knows: questions put to its frozen features."""

from smile_synth.machine.called_package import make_callable

make_callable(__name__)
