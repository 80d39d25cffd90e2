"""Weights that a library downloads by name: quietly, and without waiting for a network that is not there."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from smile_synth.errors import WeightsError


@contextlib.contextmanager
def downloads(what: str | None) -> Iterator[None]:
    """Turn a failed download into an error that says what to do, without waiting for a network that is not there.

    Args:
        what: name of the weights, or None where none are wanted and only the libraries' remarks are silenced.

    Raises:
        WeightsError: the weights are neither here nor within reach.
    """
    import huggingface_hub.constants as hub

    offline_before = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = offline_before or not _is_reachable(hub.ENDPOINT)
    # Both libraries log, on the root logger, what is raised anyway, and call weights random that are loaded later.
    quiet_before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    except (OSError, RuntimeError, ValueError, ImportError) as problem:
        if what is None:
            raise
        raise WeightsError(
            f"the teacher's weights {what} are not on this machine, and nothing was downloaded: fetch them where "
            "there is a network and set teacher.weights_file, or take the teacher efficientnet_lite0, which needs no "
            f"download ({str(problem).splitlines()[0] if str(problem) else type(problem).__name__})"
        ) from problem
    finally:
        hub.HF_HUB_OFFLINE = offline_before
        logging.disable(quiet_before)


def _is_reachable(url: str) -> bool:
    try:
        socket.getaddrinfo(urlsplit(url).hostname, 443)
    except OSError:
        return False
    return True
