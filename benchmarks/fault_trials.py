"""The faults that are tried: each function runs seeded trials of one kind and tallies what came of them."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fault_lab import ERRORS, KINDS, DiskFault, Ended, Tally, command_line, run, started, tree_digest

from smile_synth.store import document

RECIPE = """
name: faults
seed: 5
dataset:
  clips: 24
  canvas: {height: 32, width: 32, frames: 4}
  generator: shapes
  params: {background: {kind: gradient}}
  store: {clips_per_shard: 4}
pretrain:
  student: {size: tiny, width: 24, depth: 2, heads: 2, decoder_width: 12, decoder_depth: 1, decoder_heads: 1,
            patch_size: 8}
  target: {kind: pixels}
  mask: {kind: tube, ratio: 0.5}
  batch_size: 4
  max_steps: 12
  optimizer: {learning_rate: 0.01, scale_with_batch: false, warmup_steps: 2}
  runtime: {precision: float32}
  watch: {every_steps: 1, features_every_steps: 3, pictures_every_steps: 0, trackers: []}
  checkpoint: {every_steps: 3, milestone_every_steps: 3}
"""


class Bench:
    """Undisturbed results to compare with, and room for trials.

    Args:
        folder: where everything lies.
        seed: of every choice.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.recipe = folder / "faults.yaml"
        self.recipe.write_text(RECIPE)
        self.store, self.foreign, self.trained = folder / "whole.zarr", folder / "foreign.zarr", folder / "whole-run"
        began = time.monotonic()
        self.must(self.render(self.store))
        self.render_s = time.monotonic() - began
        self.must(command_line("render", str(self.recipe), "--out", str(self.foreign), "--seed", "6", "--workers", "0"))
        began = time.monotonic()
        self.must(self.pretrain(self.trained))
        self.train_s = time.monotonic() - began
        self.store_digest = tree_digest(self.store)
        self._number = 0

    def render(self, out: Path, workers: int = 0) -> Callable[[], None]:
        """Return what renders the recipe into ``out``."""
        return command_line("render", str(self.recipe), "--out", str(out), "--workers", str(workers))

    def pretrain(self, out: Path, *options: str) -> Callable[[], None]:
        """Return what trains on the undisturbed store."""
        paths = ["--data", str(self.store), "--out", str(out), "--device", "cpu"]
        return command_line("pretrain", str(self.recipe), *paths, *options)

    def must(self, work: Callable[[], object]) -> Ended:
        """Run what has to go well."""
        ended = run(work, cwd=self.folder)
        if ended.code != 0:
            raise SystemExit(f"an undisturbed command failed: {ended.err}")
        return ended

    def trial(self, fault: str, count: int) -> Iterator[tuple[random.Random, Path]]:
        """Yield a source of randomness and an empty folder for each trial."""
        for number in range(count):
            folder = self.folder / "trial"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            yield random.Random(f"{self.seed}/{fault}/{number}"), folder

    def weights_differ(self, run_folder: Path) -> str:
        """Return how a finished run differs from the undisturbed one, or nothing."""
        ours, theirs = (_weights(folder) for folder in (run_folder, self.trained))
        if ours.keys() != theirs.keys():
            return "other weights"
        return next((f"{name} differs" for name, value in ours.items() if not torch.equal(value, theirs[name])), "")


def _weights(run_folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run_folder / "checkpoints" / "latest.pt", weights_only=True)
    return state["model"]  # type: ignore[no-any-return]


def _rendered_whole(bench: Bench, out: Path, tally: Tally, before: Ended | None) -> None:
    """Render again without a fault; the store must be the undisturbed one."""
    again = run(bench.render(out), cwd=bench.folder)
    if again.complaint in ("traceback", "hang"):
        tally.add(again.complaint, again.err[-600:])
    elif again.code != 0 or tree_digest(out) != bench.store_digest:
        tally.add("lost clips", f"after {before.err[-200:] if before else 'a kill'}: {again.err[-300:]}")
    else:
        tally.add("refused" if before is not None and before.code else "fine")


def kills_of_render(bench: Bench, count: int) -> Tally:
    """SIGKILL of a rendering and its workers at a random moment, then the same command again."""
    tally = Tally("render killed")
    for rng, folder in bench.trial(tally.fault, count):
        out, workers = folder / "s.zarr", rng.choice((0, 0, 0, 2))
        with started(bench.render(out, workers), cwd=folder) as child:
            time.sleep(rng.uniform(0, 1.2 * bench.render_s * (1 + 2 * workers)))
            child.kill()
        _rendered_whole(bench, out, tally, None)
    return tally


def kills_of_pretrain(bench: Bench, count: int) -> Tally:
    """SIGKILL of a training at a random moment, then ``--resume``: the same weights, bit for bit."""
    tally = Tally("pretrain killed")
    for rng, folder in bench.trial(tally.fault, count):
        out = folder / "run"
        for _ in range(rng.choice((1, 1, 2))):
            with started(bench.pretrain(out, "--resume"), cwd=folder) as child:
                time.sleep(rng.uniform(0, 1.1 * bench.train_s))
                child.kill()
        _trained_whole(bench, out, tally, None)
    return tally


def _trained_whole(bench: Bench, out: Path, tally: Tally, before: Ended | None) -> None:
    again = run(bench.pretrain(out, "--resume"), cwd=bench.folder)
    if again.complaint in ("traceback", "hang"):
        tally.add(again.complaint, again.err[-600:])
    elif again.code != 0:
        tally.add("lost clips", again.err[-300:])
    elif different := bench.weights_differ(out):
        tally.add("silent error", different)
    else:
        tally.add("refused" if before is not None and before.code else "fine")


def _disk_faults(work: Callable[[], object], bench: Bench, folder: Path) -> dict[str, int]:
    """Return how many calls of each kind an undisturbed run makes."""
    return run(work, cwd=folder, fault=DiskFault("write", 0)).counts


def failing_disk_under_render(bench: Bench, count: int) -> Tally:
    """One call, or all from one on, fails while rendering; then the same command again."""
    tally = Tally("render: write, fsync, rename or open fails")
    calls: dict[str, int] = {}
    for rng, folder in bench.trial(tally.fault, count):
        out = folder / "s.zarr"
        calls = calls or _disk_faults(bench.render(folder / "counted.zarr"), bench, folder)
        ended = run(bench.render(out), cwd=folder, fault=_fault(rng, calls))
        if ended.complaint in ("traceback", "hang"):
            tally.add(ended.complaint, ended.err[-600:])
        elif ended.code == 0 and tree_digest(out) != bench.store_digest:
            tally.add("silent error", "exit code 0, but not the undisturbed store")
        else:
            _rendered_whole(bench, out, tally, ended)
    return tally


def failing_disk_under_pretrain(bench: Bench, count: int) -> Tally:
    """One call, or all from one on, fails while training; then ``--resume``."""
    tally = Tally("pretrain: write, fsync, rename or open fails")
    calls: dict[str, int] = {}
    for rng, folder in bench.trial(tally.fault, count):
        out = folder / "run"
        calls = calls or _disk_faults(bench.pretrain(folder / "counted"), bench, folder)
        ended = run(bench.pretrain(out), cwd=folder, fault=_fault(rng, calls))
        if ended.complaint in ("traceback", "hang"):
            tally.add(ended.complaint, ended.err[-600:])
        else:
            _trained_whole(bench, out, tally, ended)
    return tally


def _fault(rng: random.Random, calls: dict[str, int]) -> DiskFault:
    kind = rng.choice([kind for kind in KINDS if calls.get(kind)])
    return DiskFault(kind, rng.randint(1, calls[kind]), rng.choice(sorted(ERRORS)), rng.random() < 0.3)


def damaged_stores(bench: Bench, count: int) -> Tally:
    """A bit flipped, a file cut, lengthened, emptied or removed: verify says so, and no wrong clip is handed out."""
    tally = Tally("store: flipped bits, cut, lengthened, empty and absent files")
    for rng, folder in bench.trial(tally.fault, count):
        path = _copied(bench.store, folder)
        file = rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
        _damage(file, rng)
        _expect_damage(bench, path, tally, f"{file.relative_to(path)}", repair=rng.random() < 0.4)
    return tally


def misplaced_shards(bench: Bench, count: int) -> Tally:
    """A shard in another's place, or from another seed: verify says so, and the loader refuses its clips."""
    tally = Tally("store: swapped, copied and foreign shards")
    for rng, folder in bench.trial(tally.fault, count):
        path = _copied(bench.store, folder)
        shards = sorted(file for file in path.rglob("c.*") if file.is_file())
        file = rng.choice(shards)
        twins = [other for other in shards if other.parent == file.parent and other.read_bytes() != file.read_bytes()]
        foreign = bench.foreign / file.relative_to(path)
        if twins and rng.random() < 0.5:
            other = rng.choice(twins)
            ours, theirs = file.read_bytes(), other.read_bytes()
            file.write_bytes(theirs)
            if rng.random() < 0.5:
                other.write_bytes(ours)
        elif foreign.read_bytes() != file.read_bytes():
            file.write_bytes(foreign.read_bytes())
        else:
            _damage(file, rng)
        _expect_damage(bench, path, tally, f"{file.relative_to(path)}", repair=rng.random() < 0.3)
    return tally


def foreign_roots(bench: Bench, count: int) -> Tally:
    """The root document, or an array's, of the store of another seed over this one's data."""
    tally = Tally("store: metadata of another store")
    for rng, folder in bench.trial(tally.fault, count):
        path = _copied(bench.store, folder)
        file = rng.choice(sorted(path.rglob("zarr.json"))) if rng.random() < 0.5 else path / "zarr.json"
        theirs = (bench.foreign / file.relative_to(path)).read_bytes()
        if theirs == file.read_bytes():
            _damage(file, rng)
        else:
            file.write_bytes(theirs)
        _expect_damage(bench, path, tally, "a foreign document", repair=rng.random() < 0.5)
    return tally


def _copied(store: Path, folder: Path) -> Path:
    path = folder / "s.zarr"
    shutil.copytree(store, path)
    return path


def _damage(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    kind = rng.choice(("flip", "flip", "flip", "cut", "longer", "empty", "absent", "zeros"))
    if kind == "absent":
        file.unlink()
        return
    if kind == "flip":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    elif kind == "longer":
        data += rng.randbytes(rng.randint(1, 64))
    elif kind == "empty":
        data.clear()
    else:
        start = rng.randrange(len(data))
        before, data[start : start + 512] = bytes(data), bytes(len(data[start : start + 512]))
        if bytes(data) == before:
            data[start] ^= 1
    file.write_bytes(bytes(data))


def _expect_damage(bench: Bench, path: Path, tally: Tally, what: str, *, repair: bool) -> None:
    loaded = run(_reads_like(bench.store, path), cwd=bench.folder)
    if loaded.complaint in ("traceback", "hang"):
        return tally.add(loaded.complaint, f"{what}, loading: {loaded.err[-600:]}")
    if "WRONG" in loaded.out:
        return tally.add("silent error", f"{what}: {loaded.out[-200:]}")
    checked = run(command_line("verify", str(path)), cwd=bench.folder)
    if checked.complaint in ("traceback", "hang"):
        return tally.add(checked.complaint, f"{what}, verify: {checked.err[-600:]}")
    if checked.code == 0:
        return tally.add("silent error", f"{what}: verify calls it sound")
    if repair:
        repaired = run(command_line("verify", str(path), "--repair"), cwd=bench.folder)
        if repaired.complaint in ("traceback", "hang"):
            return tally.add(repaired.complaint, f"{what}, repair: {repaired.err[-600:]}")
        if repaired.code == 0 and tree_digest(path) != bench.store_digest:
            return tally.add("silent error", f"{what}: repaired into another store")
    return tally.add("refused")


def _reads_like(whole: Path, path: Path) -> Callable[[], None]:
    """Return what prints WRONG where the loader hands out a clip of ``path`` that is not the one of ``whole``."""

    def read() -> None:
        from smile_synth.errors import SmileSynthError
        from smile_synth.store import Store

        arrays = ("frames", "boxes")
        expected = Store.open(whole)
        try:
            store = Store.open(path)
        except SmileSynthError:
            return
        for array in arrays:
            for clip in range(len(expected)):
                got = np.empty(expected.layout.array(array).item_shape, expected.layout.array(array).dtype)
                wanted = got.copy()
                expected.reader(array).read_into(clip, wanted)
                try:
                    store.reader(array).read_into(clip, got)
                except SmileSynthError:
                    continue
                if not np.array_equal(got, wanted, equal_nan=array == "boxes"):
                    print(f"WRONG {array} of clip {clip}")
                    return

    return read


def _expect_one_line(tally: Tally, ended: Ended, what: str) -> None:
    if ended.complaint in ("traceback", "hang"):
        tally.add(ended.complaint, f"{what}: {ended.err[-600:]}")
    else:
        tally.add("refused" if ended.code else "fine")


def mutated_documents(
    bench: Bench, count: int, fault: str, seeds: list[Path], command: Callable[[Path], list[str]]
) -> Tally:
    """Text files with bytes, words and lines changed, given to a command: it works or says one line."""
    tally = Tally(fault)
    for rng, folder in bench.trial(fault, count):
        source = rng.choice(seeds)
        file = folder / source.name
        file.write_bytes(mutated_text(source.read_bytes(), rng))
        _expect_one_line(tally, run(command_line(*command(file)), cwd=folder), file.name)
    return tally


WORDS = (
    b"null", b"true", b"-1", b"1e400", b".nan", b"0x", b"[]", b"{}", b'""', b"2024-13-45", b"9" * 5000, b"[" * 900,
    b"\x00", b"\xff\xfe", b"&a [*a, *a]", b"!!python/object:os.system", b"- ", b": ", b"\t", b"*x", b"'", b"<<: ",
)  # fmt: skip


def mutated_text(data: bytes, rng: random.Random) -> bytes:
    """Change bytes, words or lines of a text."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(("byte", "word", "line twice", "line away", "insert", "value"))
        place = rng.randrange(max(len(changed), 1))
        if kind == "byte" and changed:
            changed[place] = rng.randrange(256)
        elif kind in ("word", "insert"):
            end = place + (rng.randint(1, 8) if kind == "word" else 0)
            changed[place:end] = rng.choice(WORDS)
        else:
            lines = bytes(changed).splitlines(keepends=True) or [b""]
            number = rng.randrange(len(lines))
            if kind == "line twice":
                lines.insert(rng.randrange(len(lines)), lines[number])
            elif kind == "line away":
                del lines[number]
            else:
                key, colon, _ = lines[number].partition(b":")
                lines[number] = key + colon + b" " + rng.choice(WORDS) + b"\n"
            changed = bytearray(b"".join(lines))
    return bytes(changed)


def mutated_files(
    bench: Bench, count: int, fault: str, seeds: list[Path], work: Callable[[Path], Callable[[], object]]
) -> Tally:
    """Binary files with bits flipped, parts cut, swapped or zeroed, given to their reader."""
    tally = Tally(fault)
    for rng, folder in bench.trial(fault, count):
        source = rng.choice(seeds)
        file = folder / source.name
        file.write_bytes(source.read_bytes())
        for _ in range(rng.randint(1, 3)):
            if file.exists() and file.stat().st_size:
                _damage(file, rng)
        if file.exists():
            _expect_one_line(tally, run(work(file), cwd=folder), file.name)
        else:
            tally.add("refused")
    return tally


def crafted_checkpoints(bench: Bench, count: int) -> Tally:
    """Checkpoints whose archive is whole and whose content is not what it should be."""
    tally = Tally("checkpoint: wrong, absent and huge values")
    state = torch.load(bench.trained / "checkpoints" / "latest.pt", weights_only=True)
    values: tuple[Any, ...] = (None, -1, 2**70, "x", [], {}, float("nan"), True, torch.zeros(3), {"a": 1}, b"\xff")
    for rng, folder in bench.trial(tally.fault, count):
        out = folder / "run"
        shutil.copytree(bench.trained, out)
        changed = _changed(state, rng, rng.choice(values))
        for file in (out / "checkpoints").glob("*.pt"):
            torch.save(changed, file)
        command = rng.choice((["export", str(out), "--out", str(folder / "e.safetensors")], None))
        work = command_line(*command) if command else bench.pretrain(out, "--resume")
        _expect_one_line(tally, run(work, cwd=folder), "a crafted checkpoint")
    return tally


def _changed(value: Any, rng: random.Random, new: Any) -> Any:
    """Return a copy of nested dictionaries in which one value, somewhere, is another or gone."""
    if not isinstance(value, dict) or not value:
        return new
    copy = dict(value)
    key = rng.choice(list(copy))
    if rng.random() < 0.5:
        copy[key] = _changed(copy[key], rng, new)
    elif rng.random() < 0.4:
        del copy[key]
    else:
        copy[key] = new
    return copy


def crafted_roots(bench: Bench, count: int) -> Tally:
    """Root documents with wrong, absent and huge values and a right checksum."""
    tally = Tally("store: crafted root documents")
    root = json.loads((bench.store / "zarr.json").read_text())["attributes"]["smile_synth"]
    values: tuple[Any, ...] = (None, -1, 2**70, "x", [], {}, True, 0.5, {"a": 1}, "\x1b[31m", [[]] * 5)
    for rng, folder in bench.trial(tally.fault, count):
        path = _copied(bench.store, folder)
        content = _changed(root, rng, rng.choice(values))
        if isinstance(content, dict) and rng.random() < 0.8:
            rest = {key: value for key, value in content.items() if key != "digest"}
            content["digest"] = document.digest(document.encode(rest))
        text = json.dumps({"attributes": {"smile_synth": content}, "node_type": "group", "zarr_format": 3})
        (path / "zarr.json").write_text(text)
        command = rng.choice((["info"], ["verify"], ["preview", "--out", str(folder / "p.png")]))
        _expect_one_line(tally, run(command_line(command[0], str(path), *command[1:]), cwd=folder), "a crafted root")
    return tally
