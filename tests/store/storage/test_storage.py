"""Every kind of storage keeps the contract: folders of this machine, objects in memory, objects on a server."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from object_server import azure_url, azurite_address, bucket_url, google_url, moto_address  # noqa: F401

from smile_synth.errors import StoreError
from smile_synth.store.storage import Storage, storage_of

SERVERS = {"s3": "bucket_url", "gs": "google_url", "az": "azure_url"}
KINDS = ("folder", "memory", *SERVERS)


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage, and what a workspace needs in it."""
    if request.param in SERVERS:
        made = storage_of(request.getfixturevalue(SERVERS[request.param]))
    else:
        made = storage_of(tmp_path / "store" if request.param == "folder" else f"memory://{tmp_path.name}")
    assert made.is_empty()
    made.prepare()
    return made


def publish(storage: Storage, files: dict[str, bytes]) -> None:
    with storage.drafts("", "00000000") as folder:
        drafts = {name: folder / name.replace("/", "-") for name in files}
        for name, draft in drafts.items():
            draft.write_bytes(files[name])
        storage.publish(drafts)
    assert not folder.exists()


def test_files_come_back_as_they_were_written(storage: Storage) -> None:
    storage.replace("a/zarr.json", b"old")
    storage.replace("a/zarr.json", b"new")
    publish(storage, {"a/c.0": bytes(range(200)), "a/b/c.0": b"inner"})
    assert storage.read("a/zarr.json") == b"new"
    assert storage.list("a") == {"a/b/c.0": 5, "a/c.0": 200, "a/zarr.json": 3}
    assert storage.sizes(["a/c.0", "a/c.1"]) == {"a/c.0": 200}
    assert storage.is_file("a/c.0")
    assert storage.exists("a")
    assert not storage.is_file("a")
    assert not storage.exists("b")
    assert not storage.is_empty()


def test_parts_of_a_file(storage: Storage) -> None:
    publish(storage, {"a/c.0": bytes(range(200))})
    file = storage.open("a/c.0")
    assert file.tail(3) == (bytes([197, 198, 199]), 200)
    assert file.tail(300) == (bytes(range(200)), 200)
    buffer = bytearray(10)
    assert file.read_into(memoryview(buffer), 195) == 5
    assert buffer[:5] == bytes(range(195, 200))
    ranges = [(50, 4), (0, 2), (52, 4), (0, 2), (190, 10)]
    assert [bytes(part) for part in file.read_ranges(ranges)] == [bytes(range(a, a + n)) for a, n in ranges]
    whole = storage.open_whole("a/c.0")
    assert whole.tail(200) == (bytes(range(200)), 200)


def test_what_is_missing_is_not_found(storage: Storage) -> None:
    for read in (storage.read, lambda name: storage.open(name).tail(1), storage.open_whole, storage.modified_at):
        with pytest.raises(FileNotFoundError):
            read("a/c.0")  # type: ignore[no-untyped-call]


def test_a_folder_is_removed_with_all_that_is_in_it(storage: Storage) -> None:
    for name in ("a/1", "a/b/2", "ab/3"):
        storage.replace(name, b"x")
    storage.remove("a")
    assert list(storage.list()) == ["ab/3"]
    storage.remove("never-there")


def test_a_put_replaces_and_leaves_no_draft(storage: Storage) -> None:
    publish(storage, {"a/c.0": b"damaged"})
    with storage.drafts("1-of-2", "00000000") as folder:
        (folder / "draft").write_bytes(b"sound")
        storage.put("a/c.0", folder / "draft")
    assert storage.read("a/c.0") == b"sound"
    assert list(storage.list("a")) == ["a/c.0"]


@pytest.mark.parametrize("storage", KINDS[1:], indirect=True)
def test_a_second_writer_finds_the_same_bytes_or_stops(storage: Storage) -> None:
    publish(storage, {"a/c.0": b"first" * 1000})
    publish(storage, {"a/c.0": b"first" * 1000})
    for other in (b"other" * 1000, b"first" * 999):
        with pytest.raises(StoreError, match=r"a/c\.0 was written before, with other bytes.*delete it"):
            publish(storage, {"a/c.0": other})
    assert storage.read("a/c.0") == b"first" * 1000


def test_a_storage_goes_to_another_process_without_credentials(bucket_url: str) -> None:  # noqa: F811
    storage = storage_of(bucket_url)
    packed = pickle.dumps(storage)
    assert b"test-secret" not in packed
    assert pickle.loads(packed).location == storage.location


def test_of_several_who_create_a_file_one_succeeds(storage: Storage) -> None:
    assert storage.create("job.json", b"first")
    assert not storage.create("job.json", b"second")
    assert storage.read("job.json") == b"first"
    assert set(storage.list()) == {"job.json"}
