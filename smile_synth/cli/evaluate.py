"""``smile-synth evaluate``: a fine-tuned model and labelled videos in, its accuracy out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from smile_synth.cli.shell import command
from smile_synth.errors import TrainingError, printable

if TYPE_CHECKING:
    from smile_synth.downstream.evaluation import Evaluation
    from smile_synth.recipe.recipe import Recipe


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="Run of finetune, its export, fine-tuned VideoMAE .pth, or Hugging Face folder.")
    ],
    videos: Annotated[Path, typer.Option("--videos", "-v", help="Folder of the videos and their lists.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for results; else MODEL/evaluation.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Recipe with a section videos; else that of the run.")
    ] = None,
    part: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads, where the file does not tell.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.sub=value instead of the recipe's; repeatable.")
    ] = None,
) -> None:
    """Test a fine-tuned model on all views of every video: segments x crops, probabilities averaged.

    What was asked is kept; after Ctrl-C the same command resumes.

    \b
    Examples:
      smile-synth evaluate runs/ucf101 --videos UCF101/
      smile-synth evaluate runs/k400 --videos K400/ --set videos.segments=7
      smile-synth evaluate finetuned_k400.pth --videos K400/ --recipe finetune-k400 --out results/theirs
    """
    import torch

    from smile_synth.downstream.evaluation import evaluate as test
    from smile_synth.downstream.evaluation import write_results
    from smile_synth.interop.formats import read_student
    from smile_synth.interop.stored_student import Sizes
    from smile_synth.progress import track
    from smile_synth.recipe.finetune import EvaluationParams
    from smile_synth.training.device import keep_freed_memory, pick_device
    from smile_synth.videos.lists import read_videos, usable

    chosen = _choose_recipe(recipe, model, set_ or [])
    params, tuning = chosen.section("videos"), chosen.finetune
    where = pick_device(device)
    keep_freed_memory()
    side = tuning.image_size if tuning is not None else None
    stored = read_student(model, Sizes(heads, params.frames, side))
    listed, missing = usable(read_videos(params, _part(part), videos), params)
    folder = out or (model / "evaluation" if model.is_dir() else model.with_suffix(".evaluation"))
    runtime = tuning.runtime if tuning is not None else None
    if runtime is not None and runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    with track(len(listed), "evaluate", "videos") as progress:
        found = test(
            stored,
            listed,
            params,
            tuning.test if tuning is not None else EvaluationParams(),
            folder,
            device=where,
            precision=runtime.precision if runtime is not None else "auto",
            threads=tuning.reading.threads if tuning is not None else None,
            advance=progress.advance,
        )
    files = write_results(found, folder, model=str(model), part=part, missing=missing)
    typer.echo("\n".join(map(printable, _lines(found, missing))))
    typer.echo(printable(f"wrote {', '.join(str(file) for file in files)}"))
    # Only flat positions have a place in Hugging Face's form.
    form = "huggingface" if stored.shape.positions == "flat" else "safetensors"
    told = ["--heads", heads] if heads is not None else []
    typer.echo(f"next: {command('export', model, '--format', form, *told)}")


def _part(name: str) -> Literal["train", "validation", "test"]:
    if name not in ("train", "validation", "test"):
        raise TrainingError(f"--part must be test, validation or train, got {name!r}")
    return name  # type: ignore[return-value]


def _choose_recipe(name: str | None, model: Path, overrides: list[str]) -> Recipe:
    """Return the named recipe, or that of the run.

    Raises:
        RecipeError: there is none, or an override does not fit it.
    """
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.training.run_folder import RunFolder

    if name is not None:
        return load_recipe(name, overrides)
    runs = [model, model.parent.parent]
    for run in runs:
        if RunFolder(run).recipe.is_file():
            return load_recipe(RunFolder(run).recipe, overrides)
    raise TrainingError(f"{model} is no run with a recipe.yaml; name the recipe that says how it is tested, --recipe")


def _lines(found: Evaluation, missing: int) -> list[str]:
    shown = []
    for count in (1, 5):
        if count < len(found.videos.classes):
            top = found.top(count)
            shown.append(f"top-{count} {100 * top.value:.1f} % [{100 * top.low:.1f}, {100 * top.high:.1f}]")
    asked = int(found.was_read.sum())
    lines = [f"{', '.join(shown)} on {asked} videos, {found.views} views each (95 % bootstrap intervals)"]
    left_out = missing + len(found.broken)
    if left_out:
        lines.append(f"left out: {missing} missing and {len(found.broken)} broken videos, which count nowhere")
    return lines


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("evaluate")(evaluate)
