"""``smile-synth generators``: list them, show their parameters, write a new one, and check the contract."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from smile_synth.cli.shell import command
from smile_synth.errors import RecipeError

if TYPE_CHECKING:
    from smile_synth.generator.dataset import Dataset

PREVIEW_CLIPS = 4
EXIT_BROKEN = 1

generators_app = typer.Typer(no_args_is_help=True, help="List, show, make and check generators.")

Name = Annotated[str, typer.Argument(help="A name from the list, package.module:Class, or file.py:Class.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Parameter: key.sub=value; may be repeated.")]


@generators_app.command("list")
def list_all() -> None:
    """List every generator that is installed, broken ones with their reason.

    \b
    Examples:
      smile-synth generators list
    """
    from smile_synth.generator.registry import list_generators

    table = Table("generator", "what it draws", "from", box=None, pad_edge=False)
    for found in list_generators():
        says = f"[red]broken:[/red] {escape(found.problem)}" if found.problem else escape(found.summary)
        table.add_row(escape(found.name), says, escape(found.package))
    Console().print(table)
    typer.echo("\nSee one: smile-synth generators show NAME      write your own: smile-synth generators new NAME")


@generators_app.command("show")
def show(
    name: Name,
    preview: Annotated[Path | None, typer.Option("--preview", help="Also draw four clips into this picture.")] = None,
    overrides: Overrides = None,
) -> None:
    """Show a generator's parameters with types, ranges, units and defaults, and its labels.

    \b
    Examples:
      smile-synth generators show cutouts
      smile-synth generators show cutouts --preview cutouts.png --set num_objects=[3,3]
      smile-synth generators show confetti.py:Confetti
    """
    import inspect

    from smile_synth.generator.registry import find
    from smile_synth.recipe.keys import values_of

    cls = find(name, Path.cwd())
    console = Console()
    console.print(f"[bold]{escape(name)}[/bold]  {escape(inspect.getdoc(cls) or '')}\n", highlight=False)
    for row in values_of(cls.Params):
        allowed = f" ({row.allowed})" if row.allowed else ""
        default = f" = {escape(row.default)}" if row.default else "  [red]must be given[/red]"
        console.print(f"[bold]{row.path}[/bold]: {escape(row.kind + allowed)}{default}", highlight=False)
        console.print(Padding(escape(row.description), (0, 0, 0, 4)), highlight=False)
    if not _needs_parameters(cls.Params, overrides):
        _show_labels(_dataset(name, overrides), console)
    if preview is not None:
        _draw(_dataset(name, overrides), preview)
        typer.echo(f"\nwrote {preview}")
    typer.echo(f"\nLook at it: {command('preview', name, '-o', Path(name).stem.split(':')[0] + '.png')}")


@generators_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the file to write, in lower case, such as confetti.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where to write.")] = Path(),
) -> None:
    """Write a working, commented generator with its test and a recipe.

    \b
    Examples:
      smile-synth generators new confetti
      smile-synth generators new confetti --folder my_generators
    """
    from smile_synth.generator.scaffold import write_generator

    module, test, recipe = write_generator(name, folder)
    typer.echo(f"wrote {module}, {test}, {recipe}\n")
    typer.echo(f"Look at it:   {command('preview', module, '-o', f'{name}.png')}")
    typer.echo(f"Check it:     {command('generators', 'check', module)}")
    typer.echo(f"Test it:      pytest {shlex.quote(str(test))}")
    typer.echo(f"Render it:    {command('render', recipe, '--out', f'{name}.zarr')}")


@generators_app.command("check")
def check(name: Name, overrides: Overrides = None) -> None:
    """Check that a generator keeps the contract, and measure its speed; exit code 1 if it does not.

    \b
    Examples:
      smile-synth generators check cutouts
      smile-synth generators check confetti.py:Confetti --set num_objects=5
    """
    from smile_synth.testing.contract import Subject
    from smile_synth.testing.run import measure_speed, run_checks

    subject = Subject(name, _params(overrides), folder=Path.cwd())
    console = Console()
    broken = 0
    for verdict in run_checks(subject):
        broken += bool(verdict.problem)
        console.print(
            "[red]BROKEN[/red]" if verdict.problem else "[green]ok[/green]    ", verdict.what, highlight=False
        )
        if verdict.problem:
            console.print(Padding(escape(verdict.problem), (0, 0, 0, 7)), highlight=False)
    if broken:
        typer.echo(f"\n{name} breaks the contract in {broken} points; see docs/writing-a-generator.md")
        raise typer.Exit(EXIT_BROKEN)
    typer.echo(f"\n{measure_speed(subject)}")
    typer.echo(f"{name} keeps the contract. Use it in a recipe: 'generator: {name}'")


def _params(overrides: list[str] | None) -> Mapping[str, Any]:
    from smile_synth.recipe.layers import apply_override

    values: dict[str, Any] = {}
    for override in overrides or ():
        apply_override(values, override)
    return values


def _dataset(name: str, overrides: list[str] | None) -> Dataset:
    from smile_synth.generator.dataset import Dataset
    from smile_synth.recipe.dataset import DatasetParams

    params = DatasetParams(clips=PREVIEW_CLIPS, generator=name, params=dict(_params(overrides)))
    return Dataset(params, seed=0, folder=Path.cwd())


def _needs_parameters(model: Any, overrides: list[str] | None) -> bool:
    return not overrides and any(info.is_required() for info in model.model_fields.values())


def _show_labels(dataset: Dataset, console: Console) -> None:
    console.print("\n[bold]Labels[/bold]")
    for label, spec in sorted(dataset.label_specs.items()):
        kind = ", ".join(spec.classes) if spec.kind == "class" else spec.unit or "number"
        console.print(f"[bold]{escape(label)}[/bold], per {spec.per}: {escape(spec.description)}", highlight=False)
        console.print(Padding(escape(kind), (0, 0, 0, 4)), highlight=False)


def _draw(dataset: Dataset, file: Path) -> None:
    import numpy as np

    from smile_synth.media.preview import STILL_SUFFIXES, contact_sheet, save_picture
    from smile_synth.render import render

    if file.suffix.lower() not in STILL_SUFFIXES:
        raise RecipeError(f"--preview draws a picture ({', '.join(STILL_SUFFIXES)}), got {file.suffix!r}")
    frames_BTHWC = np.stack([render(dataset.sample(clip)).frames_THWC for clip in range(PREVIEW_CLIPS)])
    file.parent.mkdir(parents=True, exist_ok=True)
    save_picture(contact_sheet(frames_BTHWC, captions=()), file)


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    app.add_typer(generators_app, name="generators")
