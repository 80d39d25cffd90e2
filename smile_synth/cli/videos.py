"""``smile-synth videos``: look after labelled videos before anything is trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.errors import printable

if TYPE_CHECKING:
    from smile_synth.recipe.videos import VideosParams
    from smile_synth.videos.check import CheckReport

EXIT_BROKEN = 1
MAX_SHOWN = 20
DEFAULT_RECIPE = "videos"

videos_app = typer.Typer(no_args_is_help=True, help="Check labelled videos.")


@videos_app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of the videos and their lists.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Recipe with a section videos.")] = DEFAULT_RECIPE,
    log: Annotated[
        Path | None, typer.Option(help="JSON lines of what was found; else FOLDER-check.jsonl here.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that decode; by default one a core.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value over the recipe; repeatable.")] = None,
) -> None:
    """Read every listed video once; name the missing and broken ones, and say what decoding will cost.

    Read are the frames of all test views, which span the whole video. Run again to resume: videos that have not changed
    are not read again. Exit code 1 where some are missing or broken, unless videos.on_error is skip.

    \b
    Examples:
      smile-synth videos check UCF101
      smile-synth videos check K400 --recipe finetune-k400 --threads 16
      smile-synth videos check mine --set videos.short_side=128 --set videos.stride=2
    """
    from smile_synth.machine.cores import num_cores
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.videos.check import check_videos
    from smile_synth.videos.short import short_note

    params = load_recipe(recipe, set_ or []).section("videos")
    chosen = log or Path(f"{folder.resolve().name}-check.jsonl")
    report = check_videos(params, folder, chosen, threads=threads or num_cores())
    typer.echo(printable(_counts(report)))
    _show(report)
    note = short_note(params, [video.num_frames for video in report.checked if not video.problem])
    if note:
        typer.echo(note)
    typer.echo(_cost(report, params, num_cores()))
    typer.echo(printable(f"Wrote {chosen}"))
    bad = len(report.missing) + len(report.broken)
    if bad and params.on_error == "stop":
        typer.echo(
            "Replace them, take them out of the lists, or train without them: --set videos.on_error=skip", err=True
        )
        raise typer.Exit(EXIT_BROKEN)
    if bad:
        typer.echo(f"{bad} videos will be skipped (videos.on_error: skip).")


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    app.add_typer(videos_app, name="videos")


def _counts(report: CheckReport) -> str:
    parts = ", ".join(f"{count} {part}" for part, count in report.parts.items())
    bad = f"{len(report.missing)} missing, {len(report.broken)} broken"
    return f"{len(report.checked)} videos of {report.classes} classes ({parts}): {bad}."


def _show(report: CheckReport) -> None:
    bad = [*report.missing, *report.broken]
    for video in bad[:MAX_SHOWN]:
        typer.echo(printable(f"  {video.file}: {video.problem}"))
    if len(bad) > MAX_SHOWN:
        typer.echo(f"  ... and {len(bad) - MAX_SHOWN} more; the log names all")


def _cost(report: CheckReport, params: VideosParams, cores: int) -> str:
    from smile_synth.progress import without_exponent

    if not (report.clips_per_s_core and report.tests_per_s_core):
        return "No video could be read, so nothing is known of the cost."
    train = report.parts.get("train", 0)
    tested = report.parts.get("test", report.parts.get("validation", 0))
    lines = [
        f"Decoding ({params.decoder}, {params.frames} frames, short side {params.short_side} px): "
        f"{without_exponent(report.clips_per_s_core)} clips/s a core."
    ]
    if train:
        epoch_s = train / report.clips_per_s_core
        lines.append(f"An epoch over {train} videos: {_work(epoch_s, cores)}.")
    if tested:
        test_s = tested / report.tests_per_s_core
        lines.append(f"A test of {tested} videos x {params.segments} segments: {_work(test_s, cores)}.")
    return "\n".join(lines)


def _work(core_s: float, cores: int) -> str:
    from smile_synth.progress import format_duration, without_exponent

    number, unit = (core_s / 3600, "hours") if core_s >= 3600 else (core_s, "seconds")
    return f"{without_exponent(number)} core {unit}, {format_duration(core_s / cores)} on the {cores} cores here"
