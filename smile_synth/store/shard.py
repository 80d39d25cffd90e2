"""The shard file of Zarr's sharding codec, written clip by clip, read clip by clip, and sealed to its place.

A file is chunks, seal, index. Zarr finds chunks by the index, which is last, and passes over the seal:

=============  ===================================================================================================
magic          8 bytes, ``SMSSEAL2``
store          16 bytes, the id of the store that the shard belongs to
payload        16 bytes, BLAKE2b of the chunks, that is of every byte before the seal
checksums      4 bytes a slot, CRC-32C of each chunk's payload
seal           16 bytes, BLAKE2b over store id, array, shard number, payload digest, checksums and index
=============  ===================================================================================================

The seal stands for content AND place. It is checked once, when a shard is opened for reading; then the table of
checksums is known to belong to this store, array and shard, and a chunk that fits its entry is the clip's own. (The
CRC-32C that Zarr's codec puts behind each chunk carries nothing of the kind: any chunk fits its own.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt

from smile_synth.errors import DamagedStoreError
from smile_synth.store.storage import Storage, StoredFile

MISSING = 2**64 - 1
CRC_NBYTES = 4
MAGIC = b"SMSSEAL2"
ID_NBYTES = DIGEST_NBYTES = 16
READ_NBYTES = 4 * 2**20


@dataclass(frozen=True)
class Place:
    """Where a shard belongs.

    Args:
        store_id: of the store, 32 hex digits.
        array: name of the array.
        shard: number of the shard.
        num_slots: chunks that a full shard holds.
    """

    store_id: str
    array: str
    shard: int
    num_slots: int

    def seal(self, payload_digest: bytes, checksums: bytes, index: bytes) -> bytes:
        """Return the seal of a file with this content in this place."""
        state = hashlib.blake2b(digest_size=DIGEST_NBYTES, person=b"smile shard seal")
        state.update(f"{self.store_id}/{self.array}/{self.shard}/{self.num_slots}/".encode())
        for part in (payload_digest, checksums, index):
            state.update(part)
        return state.digest()

    @property
    def index_nbytes(self) -> int:
        """Size of the index with its checksum."""
        return 16 * self.num_slots + CRC_NBYTES

    @property
    def tail_nbytes(self) -> int:
        """Size of seal and index."""
        return self.seal_nbytes + self.index_nbytes

    @property
    def seal_nbytes(self) -> int:
        """Size of everything between chunks and index."""
        return len(MAGIC) + ID_NBYTES + 2 * DIGEST_NBYTES + CRC_NBYTES * self.num_slots


class ShardWriter:
    """Writes one shard file: chunks in clip order, the seal, the index; only one chunk is ever held in memory.

    Args:
        path: file to create; its folder must exist.
        place: where the shard belongs.
    """

    def __init__(self, path: Path, place: Place) -> None:
        self._file: BinaryIO = path.open("xb")
        self._place = place
        self._index = np.full((place.num_slots, 2), MISSING, dtype="<u8")
        self._checksums = np.zeros(place.num_slots, dtype="<u4")
        self._payload = hashlib.blake2b(digest_size=DIGEST_NBYTES)
        self._next_slot = 0
        self.seal = ""
        self.nbytes = 0

    def append(self, payload: bytes) -> None:
        """Write the next clip's encoded chunk and its checksum."""
        checksum = google_crc32c.value(payload)
        self._index[self._next_slot] = self.nbytes, len(payload) + CRC_NBYTES
        self._checksums[self._next_slot] = checksum
        self._next_slot += 1
        for data in (payload, checksum.to_bytes(CRC_NBYTES, "little")):
            self._payload.update(data)
            self._write(data)

    def finish(self) -> None:
        """Write seal and index."""
        index, checksums, payload_digest = self._index.tobytes(), self._checksums.tobytes(), self._payload.digest()
        seal = self._place.seal(payload_digest, checksums, index)
        self._write(MAGIC + bytes.fromhex(self._place.store_id) + payload_digest + checksums + seal)
        self._write(index + google_crc32c.value(index).to_bytes(CRC_NBYTES, "little"))
        self._file.flush()
        self.seal = seal.hex()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.nbytes += len(data)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


@dataclass(frozen=True, eq=False)
class Tail:
    """Seal and index of a shard that is known to be in its place.

    Args:
        index: uint64 (slots, 2), offset and size of each chunk with its checksum.
        checksums: uint32 (slots,), CRC-32C of each chunk's payload.
        payload_digest: BLAKE2b of everything before the seal.
        payload_nbytes: size of that.
        seal: hex digits.
    """

    index: npt.NDArray[np.uint64]
    checksums: npt.NDArray[np.uint32]
    payload_digest: bytes
    payload_nbytes: int
    seal: str


def parse_tail(raw: bytes, place: Place, *, file_nbytes: int) -> Tail:
    """Read the end of a shard file.

    Args:
        raw: seal and index.
        place: where the shard should belong.
        file_nbytes: size of the whole file.

    Raises:
        DamagedStoreError: seal or index are damaged, or the shard belongs elsewhere.
    """
    payload_nbytes = file_nbytes - place.tail_nbytes
    if payload_nbytes < 0 or not raw.startswith(MAGIC):
        raise DamagedStoreError("the file has no seal: it is cut off, damaged, or no shard of ours")
    start, parts = len(MAGIC), []
    for nbytes in (ID_NBYTES, DIGEST_NBYTES, CRC_NBYTES * place.num_slots, DIGEST_NBYTES):
        parts.append(raw[start : start + nbytes])
        start += nbytes
    store_id, payload_digest, checksums, seal = parts
    content, crc = raw[start:-CRC_NBYTES], raw[-CRC_NBYTES:]
    if google_crc32c.value(content) != int.from_bytes(crc, "little"):
        raise DamagedStoreError("the shard's index fails its checksum")
    if store_id.hex() != place.store_id:
        raise DamagedStoreError("the shard belongs to another store")
    if seal != place.seal(payload_digest, checksums, content):
        raise DamagedStoreError("the seal does not fit: the file is damaged, or belongs to another array or shard")
    index = np.frombuffer(content, dtype="<u8").reshape(-1, 2)
    _check_index(index, payload_nbytes)
    return Tail(index, np.frombuffer(checksums, "<u4"), payload_digest, payload_nbytes, seal.hex())


def _check_index(index: npt.NDArray[np.uint64], payload_nbytes: int) -> None:
    used = index[index[:, 0] != MISSING]
    if not len(used):
        return
    is_outside = used.max() > payload_nbytes or (used.sum(axis=1) > payload_nbytes).any()
    if is_outside or used[:, 1].min() < CRC_NBYTES:
        raise DamagedStoreError("the shard's index points outside the file")


def store_id_of(storage: Storage, name: str, num_slots: int) -> str:
    """Return the id of the store that a shard file says it belongs to; empty where it cannot be read.

    Args:
        storage: of the store.
        name: path of the file inside it.
        num_slots: chunks that a full shard holds.
    """
    place = Place("", "", 0, num_slots)
    try:
        raw, _ = storage.open(name).tail(place.tail_nbytes)
    except OSError:
        return ""
    return raw[len(MAGIC) :][:ID_NBYTES].hex() if raw.startswith(MAGIC) else ""


class ShardFile:
    """One open shard file.

    Args:
        file: opened.
        place: where it should belong.

    Raises:
        DamagedStoreError: the file is cut off, damaged at its end, or belongs elsewhere.
    """

    def __init__(self, file: StoredFile, place: Place) -> None:
        self._file = file
        raw, size = file.tail(place.tail_nbytes)
        self.tail = parse_tail(raw, place, file_nbytes=size)

    @classmethod
    def open(cls, storage: Storage, name: str, place: Place, *, whole: bool = False) -> ShardFile:
        """Open a shard.

        Args:
            storage: of the store.
            name: path of the file inside it.
            place: where it should belong.
            whole: whether all of it will be read.

        Raises:
            DamagedStoreError: the file is missing, cut off, damaged at its end, or belongs elsewhere.
        """
        try:
            return cls(storage.open_whole(name) if whole else storage.open(name), place)
        except FileNotFoundError:
            raise DamagedStoreError("the file is missing") from None

    def read(self, slot: int, buffer: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Read the encoded chunk in ``slot``, without its checksum, into the front of ``buffer``.

        Raises:
            DamagedStoreError: the chunk is missing, cut off, larger than the buffer, or not the one of this slot.
        """
        offset, nbytes = self.range_of(slot, len(buffer))
        chunk = buffer[:nbytes]
        got = self._file.read_into(chunk.data, offset)
        if got != nbytes:
            raise DamagedStoreError(f"the chunk has {nbytes} bytes, only {got} could be read")
        return checked_payload(chunk, int(self.tail.checksums[slot]))

    def fetch(self, slots: Sequence[int], max_nbytes: int) -> list[npt.NDArray[np.uint8] | DamagedStoreError]:
        """Return the encoded chunks in some slots, not checked yet; or what is wrong with a slot.

        Args:
            slots: in any order.
            max_nbytes: size that no chunk can exceed.
        """
        found: dict[int, npt.NDArray[np.uint8] | DamagedStoreError] = {}
        ranges = {}
        for slot in slots:
            try:
                ranges[slot] = self.range_of(slot, max_nbytes)
            except DamagedStoreError as error:
                found[slot] = error
        for slot, chunk in zip(ranges, self._file.read_ranges(list(ranges.values())), strict=True):
            found[slot] = np.frombuffer(chunk, np.uint8)
        return [found[slot] for slot in slots]

    def checked(self, slot: int, chunk: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a chunk of ``fetch`` without its checksum.

        Raises:
            DamagedStoreError: it is cut off, or not the one of this slot.
        """
        nbytes = int(self.tail.index[slot, 1])
        if len(chunk) != nbytes:
            raise DamagedStoreError(f"the chunk has {nbytes} bytes, only {len(chunk)} could be read")
        return checked_payload(chunk, int(self.tail.checksums[slot]))

    def range_of(self, slot: int, max_nbytes: int) -> tuple[int, int]:
        """Return offset and size of the encoded chunk in ``slot``, with its checksum.

        Raises:
            DamagedStoreError: the chunk is missing, or larger than possible.
        """
        offset, nbytes = (int(value) for value in self.tail.index[slot])
        if offset == MISSING:
            raise DamagedStoreError("the chunk was never written")
        if nbytes > max_nbytes:
            raise DamagedStoreError(f"the chunk has {nbytes} bytes, at most {max_nbytes} are possible")
        return offset, nbytes

    def check_payload(self) -> None:
        """Read every byte before the seal.

        Raises:
            DamagedStoreError: they are not those that were sealed.
        """
        state, place = hashlib.blake2b(digest_size=DIGEST_NBYTES), 0
        buffer = memoryview(bytearray(min(READ_NBYTES, self.tail.payload_nbytes)))
        while place < self.tail.payload_nbytes:
            data = buffer[: self.tail.payload_nbytes - place]
            got = self._file.read_into(data, place)
            if not got:
                break
            state.update(data[:got])
            place += got
        if state.digest() != self.tail.payload_digest:
            raise DamagedStoreError("the file is not what was sealed")


def checked_payload(chunk: npt.NDArray[np.uint8], checksum: int) -> npt.NDArray[np.uint8]:
    """Return a chunk without the checksum behind it.

    Args:
        chunk: as it lies in the file.
        checksum: CRC-32C that the shard's sealed table has for its slot.

    Raises:
        DamagedStoreError: the checksum does not fit.
    """
    payload = chunk[:-CRC_NBYTES]
    if google_crc32c.value(payload) != checksum or chunk[-CRC_NBYTES:].view("<u4")[0] != checksum:
        raise DamagedStoreError("the chunk fails its checksum")
    return payload
