"""Commands of ours as they are typed into a shell."""

from __future__ import annotations

import shlex

from smile_synth.errors import printable


def command(*words: object) -> str:
    """Return a command that can be copied into a shell.

    Args:
        words: after ``smile-synth``; each is quoted where it must be.

    Examples:
        >>> command("preview", "my set.yaml", "-o", "a.png")
        "smile-synth preview 'my set.yaml' -o a.png"
    """
    return printable(shlex.join(["smile-synth", *map(str, words)]))
