"""``smile-synth recipes``: list, show and check recipes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

recipes_app = typer.Typer(no_args_is_help=True, help="List and show recipes.")


@recipes_app.command("list")
def list_recipes() -> None:
    """List the bundled recipes.

    \b
    Examples:
      smile-synth recipes list
    """
    from smile_synth.recipe.recipe import bundled_recipes
    from smile_synth.recipe.yaml import read_yaml

    table = Table("recipe", "what it is", box=None, pad_edge=False)
    for name, path in bundled_recipes().items():
        table.add_row(name, str(read_yaml(path).get("description", "")))
    Console().print(table)
    typer.echo("\nSee one in full: smile-synth recipes show NAME")


@recipes_app.command("show")
def show_recipe(
    recipe: Annotated[str, typer.Argument(help="Bundled name, or path of a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value; may be repeated.")] = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="With 'extends' followed and every default.")] = False,
) -> None:
    """Print a recipe: as it is written, or resolved with every default filled in.

    \b
    Examples:
      smile-synth recipes show demo > mine.yaml
      smile-synth recipes show demo --resolved --set dataset.clips=64
    """
    from smile_synth.recipe.recipe import load_recipe, recipe_file

    checked = load_recipe(recipe, overrides or ())
    if resolved or overrides:
        typer.echo(checked.to_yaml(), nl=False)
    else:
        typer.echo(recipe_file(recipe).read_text(encoding="utf-8"), nl=False)


@recipes_app.command("check")
def check_recipe(
    recipe: Annotated[str, typer.Argument(help="Bundled name, or path of a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value; may be repeated.")] = None,
) -> None:
    """Check a recipe, its generator and its assets, without rendering.

    \b
    Examples:
      smile-synth recipes check mine.yaml
      smile-synth recipes check mine.yaml --set dataset.assets.backgrounds=photos/
    """
    from smile_synth.generator.dataset import Dataset
    from smile_synth.recipe.recipe import load_recipe, recipe_digest

    checked = load_recipe(recipe, overrides or ())
    if checked.dataset is not None:
        dataset = Dataset.of(checked)
        dataset.sample(0)
        kinds = [row.kind for row in dataset.assets.rows]
        typer.echo(f"dataset   {len(dataset)} clips, {dataset.canvas}, generator {dataset.generator_names[0]}")
        typer.echo(f"assets    {kinds.count('background')} backgrounds, {kinds.count('object')} objects")
    for section in ("pretrain", "probe"):
        typer.echo(f"{section:<9} {'given' if getattr(checked, section) is not None else 'not given'}")
    typer.echo(f"digest    {recipe_digest(checked.resolved())[:16]}")
    typer.echo(f"\nRender it: smile-synth render {recipe} --out {checked.name}.zarr")


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    app.add_typer(recipes_app, name="recipes")
