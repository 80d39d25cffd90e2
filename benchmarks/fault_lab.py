"""Where faults are tried: every trial is a forked child that runs the real command line, watched from outside."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SHIM_SOURCE = Path(__file__).with_name("fault_shim.c")
SHIM_VARIABLE = "SMILE_SYNTH_FAULT_SHIM"
KINDS = ("write", "fsync", "rename", "open")
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}
# What a reader of the table counts; all but the first two must be zero.
OUTCOMES = ("fine", "refused", "silent error", "lost clips", "traceback", "hang")


@dataclass(frozen=True)
class DiskFault:
    """The n-th call of a kind on a file fails.

    Args:
        kind: of ``KINDS``.
        nth: from 1; 0 only counts.
        error: of ``ERRORS``.
        sticky: whether all later calls of the kind fail too, as on a full disk.
    """

    kind: str
    nth: int
    error: str = "EIO"
    sticky: bool = False


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Args:
        code: exit status, negative for a signal; None where it hung and was killed.
        out, err: what it wrote.
        counts: calls of each kind on files, while a fault was armed.
    """

    code: int | None
    out: str
    err: str
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def complaint(self) -> str:
        """``traceback``, ``hang``, ``refused`` (exit code 1, or 2 with one line), or nothing where it went well."""
        if self.code is None:
            return "hang"
        lines = [line for line in self.err.splitlines() if line.startswith("smile-synth: ")]
        if "Traceback (most recent call last)" in self.err or self.code not in (0, 1, 2):
            return "traceback"
        if self.code == 2 and len(lines) != 1:
            return "traceback"
        return "refused" if self.code else ""


@dataclass
class Tally:
    """What happened in the trials of one kind of fault."""

    fault: str
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, outcome: str, example: str = "") -> None:
        """Count one trial; keep up to five examples of what must not happen."""
        assert outcome in OUTCOMES, outcome
        self.outcomes[outcome] += 1
        if outcome not in OUTCOMES[:2] and len(self.examples) < 5:
            self.examples.append(f"{self.fault}: {outcome}: {example}")

    @property
    def trials(self) -> int:
        """How many there were."""
        return self.outcomes.total()

    @property
    def is_clean(self) -> bool:
        """Whether nothing happened that must not."""
        return not any(self.outcomes[name] for name in OUTCOMES[2:])


def with_shim(arguments: list[str]) -> None:
    """Start this program again under the shim, unless it runs under it already; needs a C compiler."""
    if SHIM_VARIABLE in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="fault-shim-"))
    library = folder / "fault_shim.so"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("faults.py needs a C compiler (cc, gcc or clang) for its failing disk; install one")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SHIM_SOURCE, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), SHIM_VARIABLE: str(library)}
    code = subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode
    shutil.rmtree(folder)
    raise SystemExit(code)


def command_line(*arguments: str) -> Callable[[], None]:
    """Return what runs ``smile-synth ARGUMENTS`` in a child."""

    def run() -> None:
        from smile_synth import cli

        sys.argv = ["smile-synth", *arguments]
        cli.main()

    return run


def run(work: Callable[[], object], *, cwd: Path, timeout_s: float = 60, fault: DiskFault | None = None) -> Ended:
    """Run ``work`` in a forked child and wait for it.

    Args:
        work: what the child does.
        cwd: where it does it.
        timeout_s: after this it hangs, and is killed.
        fault: armed in the child before it starts.
    """
    with started(work, cwd=cwd, fault=fault) as child:
        return child.wait(timeout_s)


class Child:
    """A forked child, its output in files."""

    def __init__(self, work: Callable[[], object], cwd: Path, fault: DiskFault | None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fault-child-"))
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_child(work, cwd, fault, self._folder)

    def wait(self, timeout_s: float) -> Ended:
        """Wait for its end; kill it, and all that it started, where it takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return self._ended(os.waitstatus_to_exitcode(status))
            if time.monotonic() > deadline:
                self.kill()
                return self._ended(None)
            time.sleep(0.002)

    def kill(self) -> None:
        """Kill it and all that it started, as the out-of-memory killer or a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _ended(self, code: int | None) -> Ended:
        out, err, counts = (self._folder / name for name in ("out", "err", "counts"))
        values = [int(word) for word in counts.read_text().split()] if counts.exists() else []
        texts = [file.read_text(errors="replace") for file in (out, err)]
        return Ended(code, *texts, dict(zip(KINDS, values, strict=False)))

    def close(self) -> None:
        """Remove its files."""
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def started(work: Callable[[], object], *, cwd: Path, fault: DiskFault | None = None) -> Iterator[Child]:
    """Start ``work`` in a forked child."""
    child = Child(work, cwd, fault)
    try:
        yield child
    finally:
        child.close()


def _be_the_child(work: Callable[[], object], cwd: Path, fault: DiskFault | None, folder: Path) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        for name, number in (("out", 1), ("err", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
        sys.stdin = io.StringIO()
        os.chdir(cwd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        shim = ctypes.CDLL(None)
        if fault is not None:
            shim.fault_arm(KINDS.index(fault.kind), ctypes.c_long(fault.nth), ERRORS[fault.error], int(fault.sticky))
        try:
            work()
            code = 0
        finally:
            if fault is not None:
                counts = [shim.fault_count(kind) for kind in range(len(KINDS))]
                shim.fault_arm(0, ctypes.c_long(0), 0, 0)
                (folder / "counts").write_text(" ".join(map(str, counts)))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(error.code))
    finally:
        error = sys.exception()
        if error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def tree_digest(folder: Path) -> str:
    """Return a digest of every file's name and bytes below ``folder``."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
