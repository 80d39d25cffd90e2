"""A file is replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from smile_synth import files
from smile_synth.files import replace_file


@pytest.mark.parametrize("content", [b"new", "new", lambda draft: draft.write_bytes(b"new")])
def test_content_replaces_what_was_there(tmp_path: Path, content: object) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    replace_file(path, content)  # type: ignore[arg-type]
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_writer_sees_the_suffix_and_an_absent_file(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        assert draft.suffix == ".png"
        assert not draft.exists()
        draft.write_bytes(b"x")

    replace_file(tmp_path / "picture.png", write)


def test_a_full_disk_keeps_the_old_content_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def full(draft: Path) -> None:
        draft.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as caught:
        replace_file(path, full)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_ctrl_c_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def interrupted(draft: Path) -> None:
        draft.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, interrupted)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_file_that_was_absent_stays_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "absent" / "a", b"x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("umask", [0o022, 0o007, 0o077])
def test_the_umask_decides_who_may_read(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        replace_file(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_file_and_folder_are_synced_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    real_replace = Path.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: events.append(os.readlink(f"/proc/self/fd/{handle}")))
    monkeypatch.setattr(Path, "replace", lambda a, b: (events.append("replace"), real_replace(a, b)))
    replace_file(tmp_path / "a", b"x")
    assert [events[0].rpartition("unfinished")[1], *events[1:]] == ["unfinished", "replace", str(tmp_path)]


def test_drafts_lie_where_they_are_told_to(tmp_path: Path) -> None:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    replace_file(tmp_path / "a", lambda draft: (draft.write_bytes(b"x"), draft.relative_to(drafts)), drafts=drafts)
    assert (tmp_path / "a").read_bytes() == b"x"
    assert os.listdir(drafts) == []
