"""``smile-synth export-videos``: a store's clips as video files, for other people's code."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from smile_synth.cli.stores import RecipeFolder, TrustCode
from smile_synth.errors import printable


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("export-videos")(export_videos)


def export_videos(
    store: Annotated[str, typer.Argument(help="A finished store, or its URL.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the videos; run again to resume.")],
    label: Annotated[str, typer.Option(help="Label that is a video's class, or 'generator'; else all are one.")] = "",
    bins: Annotated[int, typer.Option(min=2, help="Classes of a label that is a number, at quantiles.")] = 4,
    lossless: Annotated[bool, typer.Option("--lossless", help="Keep every value of every pixel.")] = False,
    format_: Annotated[str, typer.Option("--format", help="mp4 (H.264) or webm (VP9).")] = "mp4",
    quality: Annotated[int, typer.Option(min=0, max=51, help="Rate factor: smaller is better and larger.")] = 18,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 25.0,
    validation_share: Annotated[float, typer.Option(help="Share of each class that goes into val.csv.")] = 0.0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that encode; by default one a core.")] = None,
    folder: RecipeFolder = None,
    trust_code: TrustCode = False,
) -> None:
    """Write a store's clips as videos in class folders, with lists of 'path label' as VideoMAE reads them.

    A sample is read back: the PSNR is stated, and lossless videos must equal their clips.

    \b
    Examples:
      smile-synth export-videos clips.zarr --out videos --label direction
      smile-synth export-videos clips.zarr --out videos --label speed --bins 3 --validation-share 0.2
      smile-synth export-videos clips.zarr --out videos --lossless
    """
    from smile_synth.machine.cores import num_cores
    from smile_synth.store import Store
    from smile_synth.videos.export import CLASS_NAMES, ExportParams
    from smile_synth.videos.export import export_videos as export
    from smile_synth.videos.writing import VideoFormat

    form = VideoFormat(format_, lossless, quality, fps)  # type: ignore[arg-type]  # checked by the class
    params = ExportParams(label, bins, validation_share, form)
    done = export(Store.open(store, folder=folder, trust_code=trust_code), out, params, threads=threads or num_cores())
    mean, least = done.psnr_db
    equality = "equal to their clips" if math.isinf(least) else f"PSNR {mean:.1f} dB, least {least:.1f} dB"
    left_out = f"; {done.unlabelled} clips without the label were left out" if done.unlabelled else ""
    typer.echo(f"{done.videos} videos of {len(done.classes)} classes in {printable(str(out))} ({equality}){left_out}.")
    typer.echo(printable(f"Lists: {', '.join(map(str, done.lists))}; names of the classes: {out / CLASS_NAMES}"))
