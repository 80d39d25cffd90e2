"""Videos in one folder a class."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from smile_synth.errors import VideoListError
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.frames import VIDEO_SUFFIXES
from smile_synth.videos.search import Listed, Part, video_root, walk_videos

USUAL_NAMES: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "validate"),
    "test": ("test", "testing"),
}


class Folders:
    """``train/CLASS/NAME.mp4`` and ``val/CLASS/NAME.mp4``, or ``CLASS/NAME.mp4`` for all parts together."""

    def is_there(self, params: VideosParams, folder: Path) -> bool:
        """Whether some video lies in a class folder."""
        root = video_root(params, folder)
        return root.is_dir() and any(len(path.relative_to(root).parts) > 1 for path in walk_videos(root))

    def parts(self, params: VideosParams, folder: Path) -> tuple[Part, ...]:
        """Return the parts that have a folder, or a share of the one folder."""
        root = video_root(params, folder)
        there = [part for part in USUAL_NAMES if _part_folder(params, part, root) is not None]
        if not there:
            return ("train", "validation") if params.validation_share else ("train",)
        return tuple(there)

    def read(self, params: VideosParams, part: Part, folder: Path) -> tuple[list[Listed], tuple[str, ...]]:
        """Return the videos of a part; classes are those of all parts, in order of their names."""
        root = video_root(params, folder)
        there = {name: _part_folder(params, name, root) for name in USUAL_NAMES}
        found = {name: in_class_folders(place) for name, place in there.items() if place is not None}
        if not found:
            videos = in_class_folders(root)
            return _share(videos, params, part, root), _classes(videos)
        if params.validation_share:
            raise VideoListError(
                f"videos.validation_share has no effect: {root} has parts ({', '.join(found)}); leave it out"
            )
        chosen = found.get(part)
        if chosen is None and part == "test":
            chosen = found.get("validation")
        if chosen is None:
            wanted = ", ".join(f"{name}/" for name in USUAL_NAMES[part])
            raise VideoListError(f"{root} has no {part} part; wanted a folder {wanted}, or videos.{part} in the recipe")
        return chosen, _classes([video for videos in found.values() for video in videos])


FOLDERS = Folders()


def in_class_folders(folder: Path) -> list[Listed]:
    """Return the videos of a folder with one folder a class, at any depth below it.

    Raises:
        VideoListError: there are none.
    """
    videos = [
        Listed(path, path.relative_to(folder).parts[0])
        for path in walk_videos(folder)
        if len(path.relative_to(folder).parts) > 1
    ]
    if not videos:
        raise VideoListError(
            f"{folder} holds no class folders with videos; lay them out as class/name.mp4 "
            f"(or {', '.join(sorted(VIDEO_SUFFIXES - {'.mp4'}))})"
        )
    return sorted(videos, key=lambda video: video.file)


def _part_folder(params: VideosParams, part: Part, root: Path) -> Path | None:
    named = getattr(params, part)
    if named:
        if not (root / named).is_dir():
            raise VideoListError(f"there is no folder {root / named}, which videos.{part} names")
        return Path(root / named)
    return next((root / name for name in USUAL_NAMES[part] if (root / name).is_dir()), None)


def _classes(videos: list[Listed]) -> tuple[str, ...]:
    return tuple(sorted({video.label for video in videos}, key=class_order))


def class_order(label: str) -> tuple[int, int, str]:
    """Order numbered classes by number, named ones by name."""
    return (0, int(label), label) if label.isascii() and label.isdigit() else (1, 0, label)


def _share(videos: list[Listed], params: VideosParams, part: Part, root: Path) -> list[Listed]:
    """Return the videos of a part: of each class the same share, chosen by the digests of their names.

    More videos later may move some of those there are from one part to the other.
    """
    if part != "train" and not params.validation_share:
        raise VideoListError(
            f"{root} has class folders and no {part} part; put its videos into {root / 'val'}, or hold some out: "
            "videos.validation_share=0.2"
        )
    by_class: defaultdict[str, list[Listed]] = defaultdict(list)
    for video in videos:
        by_class[video.label].append(video)
    held_out: set[Path] = set()
    for listed in by_class.values():
        ranked = sorted(listed, key=lambda video: _digest(video.file.relative_to(root)))
        held_out |= {video.file for video in ranked[: round(params.validation_share * len(listed))]}
    return [video for video in videos if (video.file in held_out) != (part == "train")]


def _digest(path: Path) -> bytes:
    return hashlib.blake2b(path.as_posix().encode(errors="surrogateescape"), digest_size=8).digest()
