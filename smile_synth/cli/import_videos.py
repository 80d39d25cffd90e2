"""``smile-synth import-videos``: clips of labelled videos in a store, so that they are decoded once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.errors import VideoError, printable

if TYPE_CHECKING:
    from smile_synth.recipe.videos import VideosParams
    from smile_synth.videos.lists import LabelledVideos
    from smile_synth.videos.search import Part

DEFAULT_RECIPE = "videos"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("import-videos")(import_videos)


def import_videos(
    videos: Annotated[Path, typer.Argument(help="Folder of the videos and their lists, or a 'path label' list.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or URL of the store; run again to resume.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Recipe with a section videos.")] = DEFAULT_RECIPE,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    clips: Annotated[int, typer.Option(min=1, help="Clips of each video: the middle, or spread over it.")] = 1,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of a clip; else a square of the short side.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the videos, written into the store.")] = "",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; by default one a core.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value over the recipe; repeatable.")] = None,
) -> None:
    """Decode and resize clips of labelled videos into a store that 'info', 'report' and 'pretrain' read as any other.

    Frames are sampled as the recipe's section videos says. With videos.on_error=skip all videos are read once before,
    and broken ones left out and counted.

    \b
    Examples:
      smile-synth import-videos UCF101 --out ucf101.zarr --set videos.short_side=128
      smile-synth import-videos mine/train.csv --out mine.zarr --clips 4 --size 128x170
      smile-synth pretrain videomae-vit-b --data ucf101.zarr --out runs/natural
    """
    from smile_synth.cli.stores import show_store
    from smile_synth.machine.cores import num_cores
    from smile_synth.recipe.dataset import StoreParams
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.videos.importing import ImportParams
    from smile_synth.videos.importing import import_videos as run
    from smile_synth.videos.lists import read_videos
    from smile_synth.videos.short import short_note, video_lengths

    loaded = load_recipe(recipe, set_ or [])
    chosen = _part(part)
    reading, folder = _located(loaded.section("videos"), videos, chosen)
    listed = read_videos(reading, chosen, folder)
    found, skipped = _usable(listed, reading, folder, out, workers or num_cores())
    height, width = _size(size, reading.short_side)
    store = run(
        found,
        reading,
        ImportParams(str(videos), chosen, height, width, clips, licence),
        out,
        root=folder,
        store=loaded.dataset.store if loaded.dataset is not None else StoreParams(),
        workers=num_cores() if workers is None else workers,
    )
    if skipped:
        typer.echo(f"{skipped} of {len(listed)} videos were missing or broken, and were left out.")
    note = short_note(reading, video_lengths(found.files, reading.decoder, threads=workers or num_cores()))
    if note:
        typer.echo(note)
    show_store(store)


def _located(reading: VideosParams, videos: Path, part: Part) -> tuple[VideosParams, Path]:
    """Return how to read the videos, and their folder, where a list of a part of them was named instead of it."""
    if not videos.is_file():
        return reading, videos
    return reading.model_copy(update={"layout": "list", part: videos.name}), videos.parent


def _part(name: str) -> Part:
    from smile_synth.videos.search import PARTS

    for part in PARTS:
        if name == part:
            return part
    raise typer.BadParameter(f"--part is train, validation or test, got {name!r}")


def _size(text: str, short_side: int) -> tuple[int, int]:
    if not text:
        return short_side, short_side
    height, by, width = text.partition("x")
    if not (by and height.isdecimal() and width.isdecimal()):
        raise typer.BadParameter(f"--size is written like 128x170, got {text!r}")
    return int(height), int(width)


def _usable(
    listed: LabelledVideos, reading: VideosParams, folder: Path, out: str, threads: int
) -> tuple[LabelledVideos, int]:
    """Return the videos without missing ones, and if they are to be skipped, without broken ones."""
    from smile_synth.videos.check import check_videos
    from smile_synth.videos.lists import usable

    found, missing = usable(listed, reading)
    if reading.on_error == "stop":
        return found, missing
    if "://" in out:
        raise VideoError("videos.on_error=skip keeps a log beside the store: give --out a folder of this machine")
    log = Path(f"{out.rstrip('/')}-check.jsonl")
    log.parent.mkdir(parents=True, exist_ok=True)
    report = check_videos(reading, folder, log, threads=threads)
    broken = {video.file for video in report.broken}
    bad = [number for number, file in enumerate(found.files) if str(file) in broken]
    if len(bad) == len(found):
        raise VideoError(f"none of the {len(found)} videos can be read; see {printable(str(log))}")
    return found.without(bad), missing + len(bad)
