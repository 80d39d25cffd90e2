"""What a dataset holds, measured: statistics as JSON, and one page for people."""

from smile_synth.machine.called_package import make_callable

make_callable(__name__)
