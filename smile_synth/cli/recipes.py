"""``smile-synth recipes``: list, show, explain and check recipes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smile_synth.cli.shell import command
from smile_synth.errors import RecipeError

if TYPE_CHECKING:
    from smile_synth.generator.explain import Explanation
    from smile_synth.recipe.keys import Key
    from smile_synth.recipe.recipe import Recipe

recipes_app = typer.Typer(no_args_is_help=True, help="List, show, explain and check recipes.")

Named = Annotated[str, typer.Argument(help="Bundled name, or path of a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="key.sub=value; may be repeated.")]


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
    typer.echo("\nSee one in full: smile-synth recipes show NAME      a key: smile-synth recipes explain KEY")


@recipes_app.command("show")
def show_recipe(
    recipe: Named,
    overrides: Overrides = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Every value, default or not, and which recipe it comes from.")
    ] = False,
) -> None:
    """Print a recipe: as it is written, or every value with a comment that says where it comes from.

    \b
    Examples:
      smile-synth recipes show demo > mine.yaml
      smile-synth recipes show demo --resolved --set dataset.clips=64
    """
    from smile_synth.recipe.recipe import load_recipe, recipe_file

    checked = load_recipe(recipe, overrides or ())
    if resolved or overrides:
        typer.echo(checked.to_annotated_yaml(), nl=False)
    else:
        typer.echo(recipe_file(recipe).read_text(encoding="utf-8"), nl=False)


@recipes_app.command("explain")
def explain_key(
    key: Annotated[
        str, typer.Argument(help="A key or section, a generator, or GENERATOR.PARAMETER; none: the whole recipe.")
    ] = "",
    recipe: Annotated[
        str | None, typer.Option(help="Also show this recipe's value, and explain its generators' params.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/recipes.md: every key.")] = False,
) -> None:
    """Explain a key of a recipe: type, range, unit, default and meaning.

    \b
    Examples:
      smile-synth recipes explain
      smile-synth recipes explain pretrain.optimizer
      smile-synth recipes explain pretrain.optimizer.learning_rate --recipe demo
      smile-synth recipes explain shapes.radius_px
    """
    from smile_synth.generator.explain import explain
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.recipe.reference import reference_page

    if markdown:
        if key or recipe:
            raise RecipeError("--markdown prints every key: leave out KEY and --recipe")
        typer.echo(reference_page(), nl=False)
        return
    loaded = None if recipe is None else load_recipe(recipe)
    _show(explain(key, loaded), loaded)


@recipes_app.command("schema")
def print_schema() -> None:
    """Print the JSON schema of recipe files, which editors use to complete and check them.

    The parameters of all installed generators are part of it.

    \b
    Examples:
      smile-synth recipes schema > recipe.schema.json
    """
    import json
    from pathlib import Path

    from smile_synth.generator.registry import find, list_generators
    from smile_synth.recipe.schema import recipe_schema

    names = [found.name for found in list_generators() if not found.problem]
    typer.echo(json.dumps(recipe_schema({name: find(name, Path.cwd()).Params for name in names}), indent=1))


@recipes_app.command("check")
def check_recipe(recipe: Named, overrides: Overrides = None) -> None:
    """Check a recipe, its generator and its assets, and its sections against each other, without rendering.

    \b
    Examples:
      smile-synth recipes check mine.yaml
      smile-synth recipes check mine.yaml --set dataset.assets.backgrounds=photos/
    """
    from pathlib import Path

    from smile_synth.generator.dataset import Dataset
    from smile_synth.recipe.recipe import load_recipe, recipe_digest
    from smile_synth.store.space import check_space, expected_nbytes, free_nbytes
    from smile_synth.store.summary import format_size
    from smile_synth.training.agreement import disagreements

    checked = load_recipe(recipe, overrides or ())
    found = disagreements(checked)
    if found:
        raise RecipeError(f"recipe {checked.name}: {'; and '.join(one.text for one in found)}")
    if checked.dataset is not None:
        dataset = Dataset.of(checked)
        expected, free = format_size(expected_nbytes(dataset)), format_size(free_nbytes(Path.cwd()))
        kinds = [row.kind for row in dataset.assets.rows]
        typer.echo(f"dataset   {len(dataset)} clips, {dataset.canvas}, generator {dataset.generator_names[0]}")
        typer.echo(f"assets    {kinds.count('background')} backgrounds, {kinds.count('object')} objects")
        typer.echo(f"disk      about {expected} of {free} that are free here")
        check_space(dataset, Path.cwd() / f"{checked.name}.zarr")
    for section in ("pretrain", "probe"):
        typer.echo(f"{section:<9} {'given' if getattr(checked, section) is not None else 'not given'}")
    typer.echo(f"digest    {recipe_digest(checked.resolved())[:16]}")
    render = command("render", *shlex.split(checked.typed), "--out", f"{checked.name}.zarr")
    typer.echo(f"\nRender it: {render}")


def _show(explanation: Explanation, recipe: Recipe | None) -> None:
    from smile_synth.generator.explain import rows_of
    from smile_synth.recipe.recipe import EXTENDS

    console, key = Console(soft_wrap=True), explanation.key
    if key is not None:
        console.print(f"[bold]{escape(key.path)}[/bold]", highlight=False)
        console.print(escape(_plain(key)) + "\n", highlight=False)
        for label, text in rows_of(key):
            console.print(f"  {label:<8} {escape(text)}", highlight=False)
        if recipe is not None and key.model is None and not explanation.generator:
            console.print(f"  {'here':<8} {escape(recipe.value_text(key.path))}", highlight=False)
    for inner in explanation.inside:
        default = f" = {inner.default}" if inner.default else "" if inner.model else ", must be given"
        console.print(f"  [bold]{escape(inner.path)}[/bold]: {escape(inner.kind + default)}", highlight=False)
        console.print(f"      {escape(_plain(inner))}", highlight=False)
    if key is not None and explanation.inside:
        typer.echo("\nOne of them in full: smile-synth recipes explain KEY")
    elif key is not None and not explanation.generator and key != EXTENDS:
        typer.echo(f"\nSet it: smile-synth COMMAND RECIPE --set {key.path}={key.default or 'VALUE'}")


def _plain(key: Key) -> str:
    return " ".join(key.description.replace("``", "'").split())


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    app.add_typer(recipes_app, name="recipes")
