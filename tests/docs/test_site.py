"""The site: every page is in its navigation, every link leads somewhere, and it builds without a warning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {file.stem for file in (ROOT / "docs").glob("*.md")}
    assert {file.stem for file in (tmp_path / "site").glob("*.html")} == pages | {"404"}
    # It works from disk, where there may be no network.
    assert not re.search(r'(?:src|rel="stylesheet" href)="https?:', (tmp_path / "site" / "index.html").read_text())
    reference = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert "frames_BTHWC" in reference or "load_encoder" in reference
