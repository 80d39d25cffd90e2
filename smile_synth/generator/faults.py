"""Whatever goes wrong in other people's code, as one error that names their generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from smile_synth.errors import GeneratorError, SmileSynthError
from smile_synth.generator.deadline import DeadlineError, deadline
from smile_synth.params import shortened

LONGEST_MESSAGE = 400


def said(error: BaseException) -> str:
    """Return type and message of an exception in one short piece; a message may be empty, as that of MemoryError."""
    message = shortened(" ".join(str(error).split()), LONGEST_MESSAGE)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


@contextmanager
def faults_of(name: str, what: str, *, seconds: float) -> Iterator[None]:
    """Turn what is raised inside the block into one error; our own errors pass as they are.

    Args:
        name: the generator, as recipes write it.
        what: what failed, such as ``cannot be built``.
        seconds: wall-clock time after which the block is taken to hang.

    Raises:
        GeneratorError: the block raised, tried to end the process, or took too long.
    """
    try:
        with deadline(seconds):
            yield
    except SmileSynthError:
        raise
    except DeadlineError as error:
        raise GeneratorError(f"generator {name!r} {what}: {error}") from error
    except (Exception, SystemExit) as error:
        raise GeneratorError(f"generator {name!r} {what}: {said(error)}") from error
