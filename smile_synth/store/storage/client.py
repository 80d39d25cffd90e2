"""The client of object stores, obstore: set up from the environment, with errors for people."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from smile_synth.errors import StoreError
from smile_synth.store.storage.location import SCHEMES, StoreUrl

LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")
CONNECT_S = 10
# Without a byte for so long, a connection is taken for lost.
STALL_S = 20
READ_S = 120
# A shard is one request: of half a gigabyte, at half a megabyte a second.
WRITE_S = 1200
# Requests are repeated by us, because the client does not repeat an answer that broke off, nor one that writes.
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 10
# A server that has answered is waited for, so that a training outlasts its restart; another may be a slip of the pen.
PATIENCE_S = {"known": 180, "unknown": 10}
SAID_EVERY_S = 30
# Variables with the address of another server than the cloud's own, as the cloud's tools call them.
ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
# Where the client asks for credentials when the environment has none.
METADATA_SERVERS = ("169.254.169.254", "metadata.google.internal")
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "memory": "nothing",
}


class RequestError(OSError):
    """A request that failed.

    Args:
        code: errno.
        reason: for people.
        url: of the object.
        may_pass: whether trying again may help.
    """

    def __init__(self, code: int, reason: str, url: str, *, may_pass: bool) -> None:
        super().__init__(code, reason, url)
        self.may_pass = may_pass


@lru_cache(maxsize=1)
def obstore() -> Any:
    """Return the package that speaks to object stores.

    Raises:
        StoreError: it is not installed.
    """
    try:
        import obstore
        import obstore.store
    except ImportError:
        raise StoreError('object stores need obstore: pip install "smile-synth[cloud]"') from None
    return obstore


@lru_cache(maxsize=128)
def client_of(url: StoreUrl, *, writing: bool) -> Any:
    """Return a client of a store's prefix.

    Args:
        url: of the store.
        writing: whether for writing, whose requests take longer.

    Raises:
        StoreError: obstore is not installed, or its configuration in the environment is not valid.
    """
    stores = obstore().store
    if url.scheme == "memory":
        return _memory(url.bucket, url.key)
    kinds = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}
    options = {
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "timeout": timedelta(seconds=WRITE_S if writing else READ_S),
        "allow_http": _is_plain_http(url.scheme),
    }
    if not writing:
        # Not for writing: a server may think for long about a large object that has arrived.
        options["read_timeout"] = timedelta(seconds=STALL_S)
    config = _config(url.scheme)
    try:
        return kinds[url.scheme](
            url.bucket, prefix=url.key or None, client_options=options, retry_config={"max_retries": 0}, **config
        )
    except (stores.BaseError, ValueError, TypeError) as error:
        raise StoreError(
            f"{url} cannot be reached with the settings of the environment: {_first_line(error)}"
        ) from None


@lru_cache(maxsize=64)
def _memory(bucket: str, key: str) -> Any:
    return obstore().store.MemoryStore()


def _config(scheme: str) -> dict[str, Any]:
    """Return what the client does not find in the environment by itself."""
    if scheme == "s3":
        return {"region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"}
    if scheme == "gs" and (server := os.environ.get("STORAGE_EMULATOR_HOST")):
        # An account without a key: emulators know none. The client wants the fields all the same.
        empty = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        return {"service_account_key": json.dumps({"gcs_base_url": server, "disable_oauth": True, **empty})}
    return {}


def _is_plain_http(scheme: str) -> bool:
    endpoint = next((value for name in ENDPOINTS[scheme] if (value := os.environ.get(name))), "")
    allowing = {"s3": "AWS_ALLOW_HTTP", "az": "AZURE_STORAGE_USE_EMULATOR"}.get(scheme, "")
    return endpoint.startswith("http://") or os.environ.get(allowing, "").lower() in ("1", "true")


def ask(url: StoreUrl, request: Callable[[], Answer]) -> Answer:
    """Return the answer to a request, which is repeated with growing pauses as long as that may help.

    Args:
        url: of the object or prefix, for the error.
        request: may be made several times.

    Raises:
        FileNotFoundError: there is no such object.
        FileExistsError: there is one already; it may be our own, if an answer before was lost.
        RequestError: anything else.
    """
    _refuse_forked()
    began = time.monotonic()
    for turn in itertools.count():
        try:
            with failures_of(url):
                answer = _interruptible(request)
        except RequestError as error:
            lasted_s = time.monotonic() - began
            left_s = _OUTAGES.patience_s(url) - lasted_s
            wait_s = min(FIRST_WAIT_S * 2**turn, LONGEST_WAIT_S) * random.uniform(0.5, 1)
            if not error.may_pass or wait_s > left_s:
                raise
            if lasted_s > LONGEST_WAIT_S:
                _OUTAGES.tell(error, left_s)
            if getattr(_THREAD, "given_up", _NEVER).wait(wait_s):
                raise
        else:
            _OUTAGES.answered(url)
            return answer
    raise AssertionError("unreachable")


def give_up_with(event: threading.Event) -> None:
    """Have requests of this thread repeated only until ``event`` is set: nobody wants their answers any more."""
    _THREAD.given_up = event


_THREAD, _NEVER = threading.local(), threading.Event()


def _refuse_forked() -> None:
    """Raise StoreError in a process that was forked after the client was used: its threads are gone, and it hangs."""
    if _USED_IN.setdefault("pid", os.getpid()) != os.getpid():
        raise StoreError(
            "a forked process cannot read from object stores that its parent has read from; start processes by "
            "'spawn', such as DataLoader(..., multiprocessing_context='spawn')"
        )


_USED_IN: dict[str, int] = {}


def _interruptible(request: Callable[[], Answer]) -> Answer:
    """Return the answer to a request; Ctrl-C ends waiting for it, which the client alone would not let happen."""
    if threading.current_thread() is not threading.main_thread():
        return request()
    answer: Future[Answer] = Future()

    def work() -> None:
        try:
            answer.set_result(request())
        except BaseException as error:  # noqa: BLE001
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True, name="smile-synth-request").start()
    return answer.result()


class _Outages:
    """Which servers have answered in this process, and when it was last said that one does not."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._said_at = float("-inf")

    def answered(self, url: StoreUrl) -> None:
        self._known.add((url.scheme, url.bucket))

    def forget(self) -> None:
        self._known.clear()

    def patience_s(self, url: StoreUrl) -> float:
        return PATIENCE_S["known" if (url.scheme, url.bucket) in self._known else "unknown"]

    def tell(self, error: RequestError, left_s: float) -> None:
        """Say once in a while, for all threads together, that there are new tries."""
        with self._lock:
            if time.monotonic() - self._said_at < SAID_EVERY_S:
                return
            self._said_at = time.monotonic()
        LOG.warning("%s: %s; trying again for %.0f s", error.filename, error.strerror, left_s)


_OUTAGES = _Outages()


def forget() -> None:
    """Have the environment looked at again, and take no server for known."""
    client_of.cache_clear()
    _OUTAGES.forget()


@contextlib.contextmanager
def failures_of(url: StoreUrl) -> Iterator[None]:
    """Turn the client's errors into OSError with a reason of one line.

    Args:
        url: of the object or prefix, for the error.

    Raises:
        FileNotFoundError: there is no such object.
        FileExistsError: there is one already.
        RequestError: anything else.
    """
    exceptions = obstore().exceptions
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
            raise _no_bucket(url) from None
        raise FileNotFoundError(errno.ENOENT, "no such object", str(url)) from None
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise FileExistsError(errno.EEXIST, "it exists already", str(url)) from None
    except exceptions.BaseError as error:
        raise _failure(str(error), url) from None


def _failure(text: str, url: StoreUrl) -> RequestError:
    """Return the failure that an error of the client tells of, in many lines."""
    status = re.search(r"status code: (\d{3})", text)
    if any(address in text for address in METADATA_SERVERS):
        reason = f"no credentials were found; set {CREDENTIALS[url.scheme]}"
        return RequestError(errno.EACCES, reason, str(url), may_pass=False)
    if status:
        return _refusal(int(status[1]), text, url)
    if "kind: Connect" in text:
        return RequestError(errno.ECONNREFUSED, "no connection to the server", str(url), may_pass=True)
    if "kind: Timeout" in text or "operation timed out" in text:
        return RequestError(errno.ETIMEDOUT, "the server did not answer in time", str(url), may_pass=True)
    if "HTTP error" in text or "kind: " in text:
        return RequestError(errno.ECONNRESET, "the connection was lost", str(url), may_pass=True)
    return RequestError(errno.EIO, _first_line(text), str(url), may_pass=False)


def _refusal(status: int, text: str, url: StoreUrl) -> RequestError:
    said = [found[1] for tag in ("Code", "Message") if (found := re.search(rf"<{tag}>([^<]*)</{tag}>", text))]
    answer = f"the server answered {status}" + (f" ({': '.join(said)})" if said else "")
    if status in (401, 403):
        return RequestError(errno.EACCES, f"{answer}; check {CREDENTIALS[url.scheme]}", str(url), may_pass=False)
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return _no_bucket(url)
    # 409: another conditional request was under way; 408 and 429: later.
    return RequestError(errno.EIO, answer, str(url), may_pass=status >= 500 or status in (408, 409, 429))


def _no_bucket(url: StoreUrl) -> RequestError:
    return RequestError(errno.ENXIO, f"there is no {SCHEMES[url.scheme]} {url.bucket!r}", str(url), may_pass=False)


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or ["no reason was given"])[0][:200]
