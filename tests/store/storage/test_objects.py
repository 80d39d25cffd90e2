"""Stores in an object store: written, read, verified and repaired as on disk."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from object_server import FlakyProxy, bucket_url, environment, moto_address  # noqa: F401
from tiny import TinyDataset, TinyParams
from tiny_training import assert_same_bits, run_tiny, tiny_recipe, tiny_store, weights
from typer.testing import CliRunner

import smile_synth as ss
from smile_synth.cli import app
from smile_synth.errors import DamagedStoreError, GeneratorError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.loader.loader import Loader
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.recipe.recipe import parse_recipe
from smile_synth.store import Store, render_store
from smile_synth.store.chunk_cache import ChunkCache
from smile_synth.store.convert import materialise
from smile_synth.store.space import clips_per_object
from smile_synth.store.storage import Storage, StoreUrl, client, locate, storage_of
from smile_synth.store.storage.choice import forget_clients
from smile_synth.store.storage.client import PATIENCE_S, STALL_S, obstore
from smile_synth.store.storage.objects import ObjectFile, ObjectStorage
from smile_synth.store.verify import repair_store, restore_root, verify_store
from smile_synth.store.workspace import Workspace
from smile_synth.store.writer import ShardPart, fill_store, finish_store, in_this_process

SHAPES = {
    "name": "small",
    "seed": 3,
    "dataset": {"clips": 6, "canvas": {"height": 16, "width": 16, "frames": 4}, "generator": "shapes"},
}


def objects(location: object) -> dict[str, bytes]:
    storage = storage_of(str(location))
    return {name: storage.read(name) for name in storage.list()}


def delete(storage: Storage, name: str) -> None:
    assert isinstance(storage, ObjectStorage)
    obstore().delete(storage.reading, name)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def pair(tmp_path: Path, bucket_url: str) -> tuple[Store, Store]:  # noqa: F811
    """The same clips on disk and on a server."""
    dataset = TinyDataset(clips=10, shard=4)
    local = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    return local, render_store(dataset, bucket_url, recipe=dataset.recipe())


def test_the_same_bytes_as_on_disk(pair: tuple[Store, Store]) -> None:
    local, remote = pair
    assert isinstance(local.path, Path)
    assert objects(remote.path) == files(local.path)
    assert verify_store(remote, threads=4) == []


def test_every_way_to_read_gives_the_same_values(pair: tuple[Store, Store]) -> None:
    local, remote = pair
    clips = [7, 0, 9, 3, 3]
    np.testing.assert_array_equal(remote.read_frames(clips), local.read_frames(clips))
    np.testing.assert_array_equal(remote.read_motion(clips), local.read_motion(clips))
    for spec in local.layout.arrays:
        np.testing.assert_array_equal(remote.rows(spec.name, clips), local.rows(spec.name, clips))
        if not spec.compressed:
            np.testing.assert_array_equal(remote.column(spec.name), local.column(spec.name))
            np.testing.assert_array_equal(local.column(spec.name)[clips], local.rows(spec.name, clips))


def test_batches_are_the_same(pair: tuple[Store, Store]) -> None:
    batches = []
    for stores in (pair[:1], pair[1:]):
        with Loader(stores, batch_size=4, seed=3, motion=True, threads=2) as loader:
            batches.append([batch for batch, _ in zip(loader, range(5), strict=False)])
    for ours, theirs in zip(*batches, strict=True):
        assert ours.clips_B.tolist() == theirs.clips_B.tolist()
        np.testing.assert_array_equal(ours.frames_BTHWC.numpy(), theirs.frames_BTHWC.numpy())
        np.testing.assert_array_equal(ours.boxes_BKT4.numpy(), theirs.boxes_BKT4.numpy())
        assert ours.motion_BTHW2 is not None
        assert theirs.motion_BTHW2 is not None
        np.testing.assert_array_equal(ours.motion_BTHW2.numpy(), theirs.motion_BTHW2.numpy())


def count_requests(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[int, int]]]:
    """Note every range that is asked for, by object; a tail is (-1, its size)."""
    asked: dict[str, list[tuple[int, int]]] = {}
    ranges, tail = ObjectFile._range, ObjectFile.tail

    def noted_range(file: ObjectFile, offset: int, nbytes: int) -> memoryview:
        asked.setdefault(file._name, []).append((offset, nbytes))
        return ranges(file, offset, nbytes)

    def noted_tail(file: ObjectFile, nbytes: int) -> tuple[bytes, int]:
        asked.setdefault(file._name, []).append((-1, nbytes))
        return tail(file, nbytes)

    monkeypatch.setattr(ObjectFile, "_range", noted_range)
    monkeypatch.setattr(ObjectFile, "tail", noted_tail)
    return asked


def test_an_index_is_fetched_once_and_neighbours_share_a_request(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count_requests(monkeypatch)
    with Loader([pair[1]], batch_size=10, seed=0) as loader:
        for _, _ in zip(loader, range(3), strict=False):
            pass
    frames = [requests for name, requests in asked.items() if name.startswith("frames/")]
    assert len(frames) == 3
    assert all(sum(offset < 0 for offset, _ in requests) == 1 for requests in frames)
    asked.clear()
    pair[1].read_frames(range(8))
    assert [len(requests) for requests in asked.values()] == [1, 1]


def test_a_rendering_that_stopped_is_resumed(bucket_url: str, tmp_path: Path) -> None:  # noqa: F811
    dataset = TinyDataset()
    failing = TinyDataset(params=TinyParams(fails_at=5))
    with pytest.raises(GeneratorError):
        render_store(failing, bucket_url, recipe=failing.recipe())
    assert list(Workspace(locate(bucket_url)).completed()) == [0]
    with pytest.raises(StoreError, match=r"is not finished \(1 shards are complete\)"):
        Store.open(bucket_url)
    # Killed after the objects of a shard, before its receipt.
    storage_of(bucket_url).remove(".render/shards")
    render_store(dataset, bucket_url, recipe=dataset.recipe())
    assert objects(bucket_url) == files(render_store(dataset, tmp_path / "whole", recipe=dataset.recipe()).path)


def test_parts_fill_one_store_and_finish_seals_it(bucket_url: str, tmp_path: Path) -> None:  # noqa: F811
    dataset = TinyDataset()
    for place in (2, 1):
        part = ShardPart(place, 2)
        fill_store(dataset, bucket_url, recipe=dataset.recipe(), engine=in_this_process, part=part)
        if place == 2:
            with pytest.raises(StoreError, match=r"lacks 2 of 3 shards \(0, 2\)"):
                finish_store(bucket_url)
    store = finish_store(bucket_url)
    assert objects(store.path) == files(render_store(dataset, tmp_path / "whole", recipe=dataset.recipe()).path)
    assert fill_store(dataset, bucket_url, recipe=dataset.recipe(), engine=in_this_process) == 0


def test_two_writers_never_mix(bucket_url: str, tmp_path: Path) -> None:  # noqa: F811
    dataset = TinyDataset(clips=12, shard=2, params=TinyParams(seconds_a_clip=0.01))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(render_store, dataset, bucket_url, recipe=dataset.recipe()) for _ in range(2)]
        for one in both:
            one.result()
    # Whoever came last may have left receipts, which the next command removes.
    store = render_store(dataset, bucket_url, recipe=dataset.recipe())
    assert objects(store.path) == files(render_store(dataset, tmp_path / "whole", recipe=dataset.recipe()).path)


def test_a_shard_of_somebody_else_is_not_overwritten(bucket_url: str) -> None:  # noqa: F811
    dataset = TinyDataset()
    fill_store(dataset, bucket_url, recipe=dataset.recipe(), engine=in_this_process, part=ShardPart(1, 3))
    storage_of(bucket_url).replace("frames/c.1.0.0.0.0", b"somebody else's")
    with pytest.raises(StoreError, match=r"frames/c\.1\.0\.0\.0\.0 was written before, with other bytes"):
        render_store(dataset, bucket_url, recipe=dataset.recipe())
    assert storage_of(bucket_url).read("frames/c.1.0.0.0.0") == b"somebody else's"


def test_other_clips_and_other_files_are_refused(bucket_url: str) -> None:  # noqa: F811
    dataset, other = TinyDataset(), TinyDataset(seed=8)
    fill_store(dataset, bucket_url, recipe=dataset.recipe(), engine=in_this_process, part=ShardPart(1, 3))
    with pytest.raises(StoreError, match="holds other clips: seed is 7 in the store and 8 now"):
        render_store(other, bucket_url, recipe=other.recipe())
    storage_of(f"{bucket_url}-b").replace("photo.jpg", b"")
    with pytest.raises(StoreError, match="holds files that are no store of ours"):
        render_store(dataset, f"{bucket_url}-b", recipe=dataset.recipe())
    with pytest.raises(StoreError, match=f"there is no store at {bucket_url}-c; render one with"):
        Store.open(f"{bucket_url}-c")


def test_damage_is_named_and_repaired(pair: tuple[Store, Store]) -> None:
    local, remote = pair
    storage, name = storage_of(remote.path), "frames/c.1.0.0.0.0"
    damaged = bytearray(storage.read(name))
    damaged[10] ^= 1
    storage.replace(name, bytes(damaged))
    storage.remove("boxes")
    store = Store.open(str(remote.path))
    with pytest.raises(
        DamagedStoreError, match=rf"store {remote.path}, array frames, shard 1, clip 4: the chunk fails"
    ):
        store.read_frames([3, 4])
    with pytest.raises(DamagedStoreError, match="array boxes, shard 0, clip 0: the file is missing"):
        store.rows("boxes", [0])
    damages = verify_store(store, threads=4)
    assert {damage.array for damage in damages} == {"frames", "boxes"}
    assert repair_store(store, TinyDataset(), damages) == []
    delete(storage, "zarr.json")
    with pytest.raises(StoreError, match=r"zarr\.json is lost; repair it with: smile-synth verify s3://"):
        Store.open(str(remote.path))
    assert restore_root(str(remote.path))
    assert objects(remote.path) == files(Path(str(local.path)))


def test_skipped_clips_are_replaced(pair: tuple[Store, Store]) -> None:
    delete(storage_of(pair[1].path), "frames/c.0.0.0.0.0")
    with Loader([Store.open(str(pair[1].path))], batch_size=10, seed=0, on_error="skip") as loader:
        batch = next(iter(loader))
    assert sorted(clip for _, clip in loader.skipped) == [0, 1, 2, 3]
    assert set(batch.clips_B.tolist()) == set(range(4, 10))


def test_what_passes_is_repeated(pair: tuple[Store, Store], moto_address: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    local, remote = pair
    with FlakyProxy(moto_address, drop_every=3) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        forget_clients()
        store = Store.open(str(remote.path))
        np.testing.assert_array_equal(store.read_frames(range(10)), local.read_frames(range(10)))
        render_store(TinyDataset(), f"{remote.path}-again", recipe=TinyDataset().recipe())
        assert proxy.dropped > 3
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_address)
    forget_clients()
    assert objects(f"{remote.path}-again") == files(Path(str(local.path)))


def test_what_does_not_pass_is_one_line(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    run = CliRunner().invoke
    nowhere = run(app, ["info", "s3://no-such-bucket/clips"])
    assert (nowhere.exit_code, nowhere.stderr) == (
        2,
        "smile-synth: s3://no-such-bucket/clips/zarr.json: there is no bucket 'no-such-bucket'; "
        "fix this, or name another place\n",
    )
    monkeypatch.setitem(PATIENCE_S, "unknown", 0.3)
    monkeypatch.setattr("smile_synth.store.storage.client.READ_S", 0.5)
    with FlakyProxy("", drop_every=1) as silent:
        for endpoint, reason in (
            ("http://127.0.0.1:1", "no connection to the server; check the network and the address of the server"),
            (silent.endpoint, "the connection was lost; check the network"),
        ):
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            forget_clients()
            lost = run(app, ["verify", f"{bucket_url}/clips.zarr"])
            assert (lost.exit_code, lost.stderr) == (
                2,
                f"smile-synth: {bucket_url}/clips.zarr/zarr.json: {reason}, or name another place\n",
            )


def test_a_server_that_is_silent_can_be_interrupted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "smile_synth", "info", "s3://clips/clips.zarr"]
        process = subprocess.Popen(command, env={**os.environ, **environment(endpoint)}, stderr=subprocess.PIPE)
        silent.settimeout(120)
        silent.accept()
        time.sleep(0.2)
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said == b"smile-synth: interrupted; run the same command again to resume\n"
    assert time.monotonic() - interrupted < STALL_S


def test_closing_a_loader_does_not_wait_for_a_server_that_is_down(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(file: ObjectFile, offset: int, nbytes: int) -> memoryview:
        return client.ask(pair[1].path, refused)  # type: ignore[arg-type]

    def refused() -> memoryview:
        raise client.RequestError(errno.ECONNREFUSED, "no connection to the server", "url", may_pass=True)

    monkeypatch.setattr(ObjectFile, "_range", down)
    loader = Loader([pair[1]], batch_size=10, seed=0, prefetch=0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, iter(loader))
        time.sleep(1.0)
        assert not waiting.done()
        began = time.monotonic()
        loader.close()
        assert time.monotonic() - began < 5
        with pytest.raises((StoreError, CancelledError)):
            waiting.result()


@pytest.mark.parametrize("kind", ["open", "link", "foreign"])
def test_drafts_lie_in_a_folder_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage, owners = storage_of("memory://drafts"), tmp_path / f"smile-synth-drafts-{os.getuid()}"
    (elsewhere := tmp_path / "elsewhere" / "checkpoint-12000-1").mkdir(parents=True)
    if kind == "link":
        owners.symlink_to(elsewhere.parent)
    else:
        owners.mkdir()
        owners.chmod(0o777)
    if kind == "foreign":
        monkeypatch.setattr("os.getuid", lambda: 12345)
        owners.rename(tmp_path / "smile-synth-drafts-12345")
    if kind == "open":
        with storage.drafts("", "00000001") as folder:
            assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent, owners)] == [0o700] * 3
    else:
        with pytest.raises(StoreError, match=r"is not a folder of yours; .*TMPDIR"), storage.drafts("", "00000001"):
            pass
    assert elsewhere.is_dir()


def test_drafts_of_dead_processes_are_removed_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage = storage_of("memory://drafts")
    with storage.drafts("", "00000001") as living:
        dead = living.with_name(f"00000002-{2**22 + 1}-abc_1")
        others = living.with_name("checkpoint-12000"), living.with_name("notes")
        for path in (dead, *others):
            path.mkdir()
        with storage.drafts("", "00000003"):
            assert living.is_dir()
            assert not dead.exists()
            assert all(other.is_dir() for other in others)


def test_a_forked_process_is_refused(pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(client._USED_IN, "pid", os.getpid() + 1)
    with pytest.raises(StoreError, match="a forked process cannot read from object stores that its parent has read"):
        pair[1].read_frames([0])


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_clients()
    obstore.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(StoreError, match=r'object stores need obstore: pip install "smile-synth\[cloud\]"'):
        Store.open("s3://bucket/never")
    obstore.cache_clear()


def test_commands_take_a_url(pair: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(pair[1].path)
    monkeypatch.chdir(tmp_path)
    for command in (
        ["info", url],
        ["verify", url],
        ["preview", url, "--clips", "2", "--boxes", "-o", "clips.png"],
        ["card", url],
        ["render", "--finish", "--out", url],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output)
        assert url in result.output or command[0] == "card"
    name = url.rpartition("/")[2]
    assert {path.name for path in tmp_path.iterdir()} == {"clips", "clips.png", f"{name}-card"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("s4://bucket/x", r"a store is a folder or a URL that begins with s3://, gs://, az://; got 's4://bucket/x'"),
        ("s3:///x", r"a store is written s3://BUCKET/PATH, without empty parts or dots, got 's3:///x'"),
        ("az://box/../x", r"a store is written az://CONTAINER/PATH"),
        (Path("s3://bucket/x"), r"'s3:/bucket/x' was a URL before it became a Path"),
    ],
)
def test_what_is_no_url_of_a_store(text: str | Path, reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        locate(text)


def test_parts_of_a_url() -> None:
    url = locate("s3://bucket/a/clips.zarr/")
    assert isinstance(url, StoreUrl)
    assert (str(url), url.name, url.stem) == ("s3://bucket/a/clips.zarr", "clips.zarr", "clips")
    assert (str(url.parent), str(url / "x")) == ("s3://bucket/a", "s3://bucket/a/clips.zarr/x")
    assert str(locate("gs://bucket")) == "gs://bucket"


def test_the_python_api_resumes_what_the_command_began(bucket_url: str, tmp_path: Path) -> None:  # noqa: F811
    more = {**SHAPES, "dataset": {**SHAPES["dataset"], "clips": 70}}  # type: ignore[dict-item]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(more))
    began = CliRunner().invoke(app, ["render", str(tmp_path / "mine.yaml"), "--out", bucket_url, "--workers", "0"])
    assert began.exit_code == 0, began.output
    store = ss.render(tmp_path / "mine.yaml", bucket_url, workers=0)
    # On disk it would be 64.
    assert store.layout.clips_per_shard == 70


@pytest.mark.slow
def test_training_from_a_bucket_gives_the_same_weights(bucket_url: str, tmp_path: Path) -> None:  # noqa: F811
    local = tiny_store(tmp_path)
    dataset = TinyDataset(clips=12, shard=4, size=32, frames=4)
    remote = render_store(dataset, bucket_url, recipe={})
    cached = Store.open(bucket_url, cache=ChunkCache(tmp_path / "cache", 10**8))
    for name, store in (("local", local), ("remote", remote), ("cached", cached)):
        run_tiny(store, tmp_path / name, tiny_recipe())
    assert_same_bits(weights(tmp_path / "local"), weights(tmp_path / "remote"))
    assert_same_bits(weights(tmp_path / "local"), weights(tmp_path / "cached"))


def test_a_virtual_store_in_a_bucket(bucket_url: str, tmp_path: Path) -> None:  # noqa: F811
    recipe = parse_recipe(SHAPES, folder=tmp_path, origin="test")
    dataset = Dataset.of(recipe)
    places = (bucket_url, tmp_path / "virtual")
    stores = [render_store(dataset, place, recipe=recipe.resolved(), is_virtual=True) for place in places]
    full = render_store(dataset, tmp_path / "full", recipe=recipe.resolved())
    for store in stores:
        np.testing.assert_array_equal(store.read_frames([5, 0]), full.read_frames([5, 0]))
        np.testing.assert_array_equal(store.rows("boxes", [5, 0, 4]), full.rows("boxes", [5, 0, 4]))
    assert verify_store(stores[0], threads=2) == []
    with pytest.raises(StoreError, match="lies in an object store, where stores cannot be exchanged"):
        materialise(stores[0])


def test_shards_are_larger_in_an_object_store(tmp_path: Path) -> None:
    file = tmp_path / "shapes.yaml"
    for number, (sets, expected) in enumerate((([], 512), (["--set", "dataset.store.clips_per_shard=3"], 3))):
        file.write_text(yaml.safe_dump(SHAPES))
        url = f"memory://{tmp_path.name}-{number}"
        done = CliRunner().invoke(app, ["render", str(file), "--out", url, "--workers", "0", *sets])
        assert done.exit_code == 0, done.output
        assert Store.open(url).recipe["dataset"]["store"]["clips_per_shard"] == expected
    sizes = {"usual": {}, "many": {"clips": 10**7}, "large": {"canvas": {"height": 1024, "width": 1024}}}
    found = {name: clips_per_object(DatasetParams(**values)) for name, values in sizes.items()}
    assert found == {"usual": 512, "many": 1024, "large": 64}


def test_a_cache_needs_a_store_that_is_far(tmp_path: Path) -> None:
    command = ["pretrain", "demo", "-d", "here.zarr", "-o", str(tmp_path / "run"), "--cache", f"{tmp_path}/cache:1GB"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert "--cache has no effect for stores on disk; leave it out" in done.stderr
