"""``python -m smile_synth`` is ``smile-synth``."""

from smile_synth.cli import main

if __name__ == "__main__":
    main()
