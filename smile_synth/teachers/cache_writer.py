"""Writing a teacher's features beside a store: shard by shard, so that it can be killed at any moment and resumed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.errors import DamagedStoreError, ModelError, StoreError
from smile_synth.progress import Tracker, track
from smile_synth.store import Store, document
from smile_synth.store.build import writing_failed
from smile_synth.store.layout import Layout, shard_file
from smile_synth.store.shard import ShardWriter
from smile_synth.store.storage import storage_of
from smile_synth.store.workspace import JOB, RECEIPTS, Receipt, Workspace
from smile_synth.store.writer import completed_shards
from smile_synth.teachers.cache import FORMAT_VERSION, ROOT, CacheRoot, CacheSource, FeatureCache, Precision
from smile_synth.teachers.standardise import standardise
from smile_synth.teachers.teacher import Teacher

INT8_MAX = 127


class CacheWorkspace(Workspace):
    """What a cache in the making keeps beside its shards."""

    BUSY = "{folder} is being written by {holder}; wait until it ends"


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Features of some clips as they are stored.

    Args:
        values_BND: float16 or int8.
        scale_BD: float32, for int8 only.
    """

    values_BND: npt.NDArray[np.float16] | npt.NDArray[np.int8]
    scale_BD: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, features_BND: torch.Tensor, dtype: Precision) -> StoredFeatures:
        """Round features.

        Args:
            features_BND: float32.
            dtype: ``float16``, or ``int8`` times one scale for each clip and channel.

        Raises:
            ModelError: the features are not finite, or too large for float16.
        """
        exact = features_BND.numpy()
        if not np.isfinite(exact).all():
            raise ModelError("the teacher gave features that are not finite: try teacher.precision float32")
        if dtype == "float16":
            if np.abs(exact).max() > np.finfo(np.float16).max:
                raise ModelError("the teacher's features are too large for float16: use --dtype int8")
            return cls(exact.astype(np.float16), None)
        scale_BD = (np.abs(exact).max(axis=1) / INT8_MAX).astype(np.float32)
        divisor_BD = np.where(scale_BD > 0, scale_BD, np.float32(1))
        rounded = np.rint(exact / divisor_BD[:, None]).clip(-INT8_MAX, INT8_MAX)
        return cls(rounded.astype(np.int8), scale_BD)

    @property
    def restored_BND(self) -> torch.Tensor:
        """Float32 features as they will be read."""
        values = self.values_BND.astype(np.float32)
        return torch.from_numpy(values if self.scale_BD is None else values * self.scale_BD[:, None])


def write_cache(
    source: CacheSource,
    build: Callable[[], Teacher],
    *,
    dtype: Precision = "float16",
    clips_at_once: int = 16,
) -> tuple[FeatureCache, int]:
    """Write the features of every clip of a store, or resume what was begun, and seal it.

    Args:
        source: store and teacher.
        build: makes the teacher; called only where features are missing.
        dtype: how features are stored.
        clips_at_once: clips that the teacher sees together.

    Returns:
        The finished cache, and how many clips the teacher looked at now.

    Raises:
        SmileSynthError: the teacher cannot be built, a clip cannot be read, or the cache cannot be written.
    """
    finished = _finished(source, dtype)
    if finished is not None:
        return finished, 0
    if isinstance(source.path, Path) and source.path.exists() and not source.path.is_dir():
        raise StoreError(f"{source.path} is a file where cached features belong; move it away")
    teacher = build()
    layout = source.layout(teacher.width, dtype)
    try:
        with _opened(source, layout) as workspace:
            clips = _fill(source, teacher, layout, dtype, workspace, clips_at_once)
            _seal(source, teacher, layout, dtype, workspace)
    except OSError as error:
        raise StoreError(writing_failed(error, f"{source.path}")) from error
    cache = FeatureCache.find(source)
    assert cache is not None
    return cache, clips


def _finished(source: CacheSource, dtype: Precision) -> FeatureCache | None:
    """Return the cache where it is finished and sound; what is damaged is removed."""
    try:
        cache = FeatureCache.find(source)
    except DamagedStoreError:
        storage_of(source.path).remove("")
        return None
    if cache is None:
        return None
    if cache.root.dtype != dtype:
        raise StoreError(
            f"{cache.path} holds the features as {cache.root.dtype}; remove the folder to write them as {dtype}"
        )
    if not cache.is_sound():
        storage_of(source.path).remove("")
        return None
    return cache


@contextlib.contextmanager
def _opened(source: CacheSource, layout: Layout) -> Iterator[CacheWorkspace]:
    workspace = CacheWorkspace(source.path)
    workspace.create()
    with workspace.locked():
        workspace.clear_drafts()
        wanted, storage = document.encode({"id": layout.store_id}), workspace.storage
        if not storage.is_file(JOB) or storage.read(JOB) != wanted:
            # Nothing was begun, or shards of another type.
            storage.remove(RECEIPTS)
            workspace.create()
            storage.replace(JOB, wanted)
        try:
            yield workspace
        finally:
            workspace.clear_drafts()
        if workspace.is_sealed:
            workspace.remove()


def _fill(
    source: CacheSource,
    teacher: Teacher,
    layout: Layout,
    dtype: Precision,
    workspace: Workspace,
    clips_at_once: int,
) -> int:
    completed = completed_shards(workspace, layout)
    missing = [shard for shard in range(layout.num_shards) if shard not in completed]
    clips = sum(len(layout.clips_of(shard)) for shard in missing)
    with track(clips, "cache") as progress:
        if completed:
            progress.note(f"resuming: {len(completed)} of {layout.num_shards} shards are complete")
        for shard in missing:
            with workspace.drafts(shard) as folder:
                numbers = layout.clips_of(shard)
                groups = [numbers[at : at + clips_at_once] for at in range(0, len(numbers), clips_at_once)]
                shown = _looked_at(source.store, teacher, groups, progress)
                drafts, receipt = _draft_shard(shown, layout, dtype, folder, shard)
                workspace.publish(shard, drafts, receipt)
    return clips


def _looked_at(store: Store, teacher: Teacher, groups: Sequence[range], progress: Tracker) -> Iterator[torch.Tensor]:
    """Yield the teacher's features of groups of clips, float32 on the CPU."""
    device = next(teacher.backbone.parameters()).device
    for clips in groups:
        frames_BTHWC = torch.from_numpy(store.read_frames(clips)).to(device)
        yield teacher(frames_BTHWC).float().cpu().contiguous()
        progress.advance(len(clips))


def _draft_shard(
    features: Iterator[torch.Tensor], layout: Layout, dtype: Precision, folder: Path, shard: int
) -> tuple[dict[str, Path], Receipt]:
    """Write one shard of every array into ``folder``; its receipt also sums up the error of rounding."""
    drafts: dict[str, Path] = {}
    receipt: Receipt = {}
    squared_error = squares = 0.0
    with contextlib.ExitStack() as stack:
        writers: dict[str, ShardWriter] = {}
        for spec in layout.arrays:
            draft = drafts[shard_file(spec, shard)] = folder / spec.name
            writers[spec.name] = stack.enter_context(ShardWriter(draft, layout.place(spec, shard)))
        for exact_BND in features:
            stored = StoredFeatures.of(exact_BND, dtype)
            _append(writers, stored)
            wanted = standardise(exact_BND)
            squared_error += float((standardise(stored.restored_BND) - wanted).square().double().sum())
            squares += float(wanted.square().double().sum())
        for name, writer in writers.items():
            writer.finish()
            receipt[name] = {"nbytes": writer.nbytes, "seal": writer.seal}
    receipt["features"] |= {"squared_error": squared_error, "squares": squares}
    return drafts, receipt


def _append(writers: Mapping[str, ShardWriter], stored: StoredFeatures) -> None:
    for values_ND in stored.values_BND:
        writers["features"].append(_little_endian(values_ND))
    if stored.scale_BD is not None:
        for scale_D in stored.scale_BD:
            writers["scale"].append(_little_endian(scale_D))


def _little_endian(values: npt.NDArray[np.generic]) -> bytes:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()


def _seal(source: CacheSource, teacher: Teacher, layout: Layout, dtype: Precision, workspace: Workspace) -> None:
    receipts = [workspace.completed()[shard]["features"] for shard in range(layout.num_shards)]
    squares = sum(receipt["squares"] for receipt in receipts)
    error = sum(receipt["squared_error"] for receipt in receipts)
    root = CacheRoot.sealing(
        {
            "format_version": FORMAT_VERSION,
            "source": dict(source.values),
            "dtype": dtype,
            "width": teacher.width,
            "relative_error": (error / squares) ** 0.5 if squares else 0.0,
            "weights_sha256": _weights_digest(teacher),
        }
    )
    for name, value in layout.metadata().items():
        workspace.storage.replace(name, document.encode(value))
    # Everything is on the disk before the one file that calls the cache finished.
    workspace.storage.replace(ROOT, root.to_bytes())


def _weights_digest(teacher: Teacher) -> str:
    state = hashlib.sha256()
    for name, value in sorted(teacher.backbone.state_dict().items()):
        state.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        state.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()
