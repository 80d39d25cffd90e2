"""Where a store is: a path of this machine, or the URL of a prefix in an object store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smile_synth.errors import StoreError, nearest

# What a URL may begin with, and what the first part of it names.
SCHEMES = {"s3": "bucket", "gs": "bucket", "az": "container", "memory": "name"}


@dataclass(frozen=True)
class StoreUrl:
    """A prefix in an object store, with as much of a ``Path`` as its users need.

    Args:
        scheme: one of ``SCHEMES``.
        bucket: bucket or container.
        key: prefix of all keys, without a slash at either end; empty for the whole bucket.
    """

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")

    def __truediv__(self, name: str) -> StoreUrl:
        return StoreUrl(self.scheme, self.bucket, f"{self.key}/{name}" if self.key else name)

    @property
    def name(self) -> str:
        """Last part of the key; the bucket where there is no key."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return Path(self.name).stem

    @property
    def parent(self) -> StoreUrl:
        """The prefix that holds this one; the bucket where there is none."""
        return StoreUrl(self.scheme, self.bucket, self.key.rpartition("/")[0])

    def resolve(self) -> StoreUrl:
        """Return itself: a URL is the same everywhere."""
        return self


Location = Path | StoreUrl


def locate(place: str | Path | StoreUrl) -> Location:
    """Return where a store is.

    Args:
        place: a path, or a URL such as ``s3://bucket/clips.zarr``.

    Raises:
        StoreError: it is no URL of an object store that we know, or a URL that a ``Path`` has spoiled.
    """
    if isinstance(place, StoreUrl):
        return place
    if isinstance(place, Path):
        _refuse_spoiled(place)
        return place
    scheme, separator, rest = place.partition("://")
    if not separator:
        return Path(place)
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES if name != "memory")
        raise StoreError(
            f"a store is a folder or a URL that begins with {known}; got {place!r}.{nearest(scheme, SCHEMES)}"
        )
    bucket, _, key = rest.partition("/")
    parts = key.rstrip("/").split("/") if key.rstrip("/") else []
    if not bucket or any(part in ("", ".", "..") for part in parts):
        form = f"{scheme}://{SCHEMES[scheme].upper()}/PATH"
        raise StoreError(f"a store is written {form}, without empty parts or dots, got {place!r}")
    return StoreUrl(scheme, bucket, "/".join(parts))


def _refuse_spoiled(path: Path) -> None:
    first = path.parts[0] if path.parts else ""
    if first.endswith(":") and first[:-1] in SCHEMES:
        raise StoreError(
            f"{str(path)!r} was a URL before it became a Path, which loses a slash, or was typed so; "
            "write two slashes after the colon, in Python as a string"
        )


def beside(location: Location, suffix: str) -> Path:
    """Return a folder of this machine for what is made of a store: beside it, or here where it is a URL.

    Args:
        location: of the store.
        suffix: what its name ends with, such as ``-report``.
    """
    name = f"{location.resolve().stem}{suffix}"
    return location.parent / name if isinstance(location, Path) else Path(name)
