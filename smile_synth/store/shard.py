"""The shard file of Zarr's sharding codec, written clip by clip and read clip by clip."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt

from smile_synth.errors import DamagedStoreError

MISSING = 2**64 - 1
CRC_NBYTES = 4


def index_nbytes(num_slots: int) -> int:
    """Return the size of a shard's index with its checksum."""
    return 16 * num_slots + CRC_NBYTES


class ShardWriter:
    """Writes one shard file: chunks in clip order, then the index; only one chunk is ever held in memory.

    Args:
        path: file to create; its folder must exist.
        num_slots: chunks that a full shard holds.
    """

    def __init__(self, path: Path, num_slots: int) -> None:
        self._file: BinaryIO = path.open("xb")
        self._index = np.full((num_slots, 2), MISSING, dtype="<u8")
        self._next_slot = 0
        self.crc = 0
        self.nbytes = 0

    def append(self, payload: bytes) -> None:
        """Write the next clip's encoded chunk and its checksum."""
        checksum = google_crc32c.value(payload).to_bytes(CRC_NBYTES, "little")
        self._index[self._next_slot] = self.nbytes, len(payload) + CRC_NBYTES
        self._next_slot += 1
        self._write(payload)
        self._write(checksum)

    def finish(self) -> None:
        """Write the index."""
        index = self._index.tobytes()
        self._write(index + google_crc32c.value(index).to_bytes(CRC_NBYTES, "little"))
        # No fsync: a shard that a crash of the host cuts off is found by its size and built again.
        self._file.flush()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.crc = google_crc32c.extend(self.crc, data)
        self.nbytes += len(data)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class ShardFile:
    """One open shard file, closed when nobody holds it any more.

    Args:
        path: the file.
        num_slots: chunks that a full shard holds.

    Raises:
        DamagedStoreError: the file is missing, cut off, or its index fails its checksum.
    """

    def __init__(self, path: Path, num_slots: int) -> None:
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise DamagedStoreError("the file is missing") from None
        self.index = self._read_index(num_slots)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def _read_index(self, num_slots: int) -> npt.NDArray[np.uint64]:
        size, tail = os.fstat(self._fd).st_size, index_nbytes(num_slots)
        if size < tail:
            raise DamagedStoreError(f"the file has {size} bytes, its index alone needs {tail}")
        raw = os.pread(self._fd, tail, size - tail)
        return parse_index(raw, data_nbytes=size - tail)

    def read(self, slot: int, buffer: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Read the encoded chunk in ``slot``, without its checksum, into the front of ``buffer``.

        Raises:
            DamagedStoreError: the chunk is missing, cut off, larger than the buffer, or fails its checksum.
        """
        offset, nbytes = (int(value) for value in self.index[slot])
        if offset == MISSING:
            raise DamagedStoreError("the chunk was never written")
        if nbytes > len(buffer):
            raise DamagedStoreError(f"the chunk has {nbytes} bytes, at most {len(buffer)} are possible")
        chunk = buffer[:nbytes]
        got = os.preadv(self._fd, [chunk.data], offset)
        if got != nbytes:
            raise DamagedStoreError(f"the chunk has {nbytes} bytes, only {got} could be read")
        return checked_payload(chunk)


def parse_index(raw: bytes, *, data_nbytes: int) -> npt.NDArray[np.uint64]:
    """Return the (offset, size) pairs of a shard's index.

    Args:
        raw: the index with its checksum.
        data_nbytes: bytes of the file before the index.

    Raises:
        DamagedStoreError: the index fails its checksum, or points outside the file.
    """
    content, checksum = raw[:-CRC_NBYTES], raw[-CRC_NBYTES:]
    if google_crc32c.value(content) != int.from_bytes(checksum, "little"):
        raise DamagedStoreError("the shard's index fails its checksum")
    index = np.frombuffer(content, dtype="<u8").reshape(-1, 2)
    used = index[index[:, 0] != MISSING]
    if len(used) and (used.max() > data_nbytes or (used.sum(axis=1) > data_nbytes).any() or used[:, 1].min() < 4):
        raise DamagedStoreError("the shard's index points outside the file")
    return index


def checked_payload(chunk: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a chunk without its checksum.

    Raises:
        DamagedStoreError: the checksum does not fit.
    """
    payload = chunk[:-CRC_NBYTES]
    if google_crc32c.value(payload) != int.from_bytes(chunk[-CRC_NBYTES:].tobytes(), "little"):
        raise DamagedStoreError("the chunk fails its checksum")
    return payload
