"""``smile-synth export``: write a trained student in a form that others read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from smile_synth.errors import WeightsError, printable


class Format(StrEnum):
    """Forms of an export."""

    videomae = "videomae"
    huggingface = "huggingface"
    safetensors = "safetensors"


_SUFFIXES = {Format.videomae: "videomae.pth", Format.huggingface: "huggingface", Format.safetensors: "safetensors"}


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("export")(export)


def export(
    run: Path = typer.Argument(help="A run folder, a checkpoint of it, or weights from elsewhere, as for probe."),
    format: Format = typer.Option(Format.safetensors, "--format", "-f", help="What to write."),
    out: Path | None = typer.Option(None, "--out", "-o", help="File or folder to write; beside the run unless told."),
    heads: int | None = typer.Option(None, min=1, help="Attention heads, where the file does not tell."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what lies there."),
) -> None:
    """Write a trained student, or a fine-tuned classifier, for use elsewhere.

    A run's moving average of weights is taken where there is one.

    [bold]videomae[/bold]: all weights, as a .pth file that VideoMAE's and SMILE's fine-tuning scripts load.
    [bold]huggingface[/bold]: a folder for from_pretrained of transformers.VideoMAEModel or, with the names of its
    classes, of VideoMAEForVideoClassification.
    [bold]safetensors[/bold]: the encoder alone, for smile_synth.load_encoder; a classifier with its head.

    [bold]Examples:[/bold]

    \b
    smile-synth export runs/demo --format safetensors
    smile-synth export runs/demo --format huggingface --out exports/demo-hf
    smile-synth export runs/demo/checkpoints/latest.pt --format videomae -o demo.pth
    """
    from smile_synth.interop.formats import export as write
    from smile_synth.interop.formats import read_student
    from smile_synth.interop.stored_student import Sizes

    stored = read_student(run, Sizes(heads))
    name = run.stem if run.is_file() else run.resolve().name
    target = out or run.resolve().parent / f"{name}.{_SUFFIXES[format]}"
    if target.exists() and not overwrite:
        raise WeightsError(f"{target} exists already: name another place with --out, or add --overwrite")
    files = write(stored, target, format.value)
    for file in files:
        typer.echo(printable(f"wrote {file} ({file.stat().st_size:,} bytes)"))
    typer.echo(printable(f"next: {_next_step(format, target, is_classifier=stored.num_classes > 0)}"))


def _next_step(format: Format, target: Path, *, is_classifier: bool) -> str:
    if format is Format.huggingface:
        model = "VideoMAEForVideoClassification" if is_classifier else "VideoMAEModel"
        return f"transformers.{model}.from_pretrained({str(target)!r})"
    if format is Format.videomae:
        return f"torch.load({str(target)!r}, weights_only=True)['model'], or smile_synth.load_encoder({str(target)!r})"
    return f"smile_synth.load_encoder({str(target)!r})"
