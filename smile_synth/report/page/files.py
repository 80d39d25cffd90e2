"""Where a report goes: a page and its JSON side by side."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from smile_synth.errors import ReportError
from smile_synth.files import replace_file

PAGE_SUFFIXES = (".html", ".htm")
# A folder may have a dot in its name, but hardly one of these.
OTHER_SUFFIXES = (".json", ".md", ".pdf", ".png", ".txt")


@dataclass(frozen=True)
class ReportFiles:
    """Where a report goes.

    Args:
        page: HTML file.
        content: JSON file.
    """

    page: Path
    content: Path


def report_files(out: Path, *, name: str = "report") -> ReportFiles:
    """Return the files of a report, and make sure they can be written.

    Args:
        out: an ``.html`` file, or a folder.
        name: of the files inside a folder.

    Raises:
        ReportError: the place cannot be written, or is another kind of file.
    """
    if out.suffix.lower() in OTHER_SUFFIXES and not out.is_dir():
        raise ReportError(f"--out takes a folder, or a page that ends in {' or '.join(PAGE_SUFFIXES)}, got {out}")
    page = out if out.suffix.lower() in PAGE_SUFFIXES else out / f"{name}.html"
    files = ReportFiles(page, page.with_suffix(".json"))
    for file in (files.page, files.content):
        if file.is_dir():
            raise ReportError(f"the report cannot be written to {file}: it is a folder; give another place with --out")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=page.parent):
            pass
    except OSError as error:
        raise _not_writable(out, error) from None
    return files


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        ReportError: the place cannot be written.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise _not_writable(path, error) from None


def _not_writable(path: Path, error: OSError) -> ReportError:
    reason = error.strerror or error
    return ReportError(f"the report cannot be written to {path}: {reason}; give another place with --out")
