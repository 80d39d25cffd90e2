"""``smile-synth init``: a recipe for your own folders of backgrounds and objects."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.errors import AssetError, RecipeError, nearest, printable

if TYPE_CHECKING:
    from smile_synth.assets import Assets


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("init")(init)


def init(
    out: Annotated[Path, typer.Argument(help="Recipe to write; it must not exist.")] = Path("mine.yaml"),
    backgrounds: Annotated[Path | None, typer.Option(help="Folder of photographs or other images.")] = None,
    objects: Annotated[Path | None, typer.Option(help="Folder of RGBA files: class/name.png or .webp.")] = None,
    like: Annotated[str, typer.Option(help="Bundled recipe that says everything else.")] = "demo",
    clips: Annotated[int | None, typer.Option(min=1, help="How many clips, instead of that recipe's.")] = None,
) -> None:
    """Write a recipe that uses the images of two folders.

    Every image is looked at once. Those that cannot be used are counted, and skipped when the recipe is rendered.

    \b
    Examples:
      smile-synth init --backgrounds photos/ --objects cutouts/
      smile-synth init streets.yaml --backgrounds photos/                  (built-in cut-outs move over them)
      smile-synth init mine.yaml --objects cutouts/ --like smile-vit-b --clips 100000
    """
    from smile_synth.files import replace_file
    from smile_synth.recipe.recipe import bundled_recipes

    if backgrounds is None and objects is None:
        raise typer.BadParameter("name your folders: --backgrounds DIR, --objects DIR, or both")
    if out.suffix not in (".yaml", ".yml"):
        raise RecipeError(f"a recipe is a YAML file, got {out}; name it {out}.yaml")
    if out.exists():
        raise RecipeError(f"{out} exists already; name another file")
    if like not in bundled_recipes():
        raise RecipeError(
            f"there is no bundled recipe {like!r}.{nearest(like, bundled_recipes())} See: smile-synth recipes list"
        )
    assets, split = _look(backgrounds, objects)
    for line in assets.summaries:
        typer.echo(line)
    skips = any(" skipped (" in line for line in assets.summaries)
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, _text(out, backgrounds, objects, like=like, clips=clips, split=split, skips=skips))
    typer.echo(printable(f"wrote {out}"))
    typer.echo(f"Look at it: {command('preview', out, '-o', f'{out.stem}.png', '--boxes')}")
    typer.echo(f"Render it:  {command('render', out, '--out', f'{out.stem}.zarr')}")


def _look(backgrounds: Path | None, objects: Path | None) -> tuple[Assets, str]:
    """Return the images of both folders, every one read, and the part of them that pretraining may use."""
    from smile_synth.assets import Assets
    from smile_synth.recipe.assets import AssetsParams

    given = {"backgrounds": backgrounds, "objects": objects}
    folders = {kind: str(folder.resolve()) for kind, folder in given.items() if folder is not None}
    whole = Assets.build(AssetsParams.model_validate({**folders, "on_bad": "skip"}), folder=Path.cwd())
    try:
        Assets.build(AssetsParams.model_validate({**folders, "split": "pretrain"}), folder=Path.cwd())
    except AssetError:
        # Too few to keep some of them for probing.
        return whole, "all"
    return whole, "pretrain"


def _text(
    out: Path,
    backgrounds: Path | None,
    objects: Path | None,
    *,
    like: str,
    clips: int | None,
    split: str,
    skips: bool,
) -> str:
    lines = [
        "# Written by smile-synth init. What stands here replaces what the recipe below it says:",
        f"#   smile-synth recipes show {like}",
        "# Paths are relative to this file.",
        f"extends: {like}",
        f"description: The recipe {like} with images of our own",
        "",
        "dataset:",
        *([f"  clips: {clips}"] if clips is not None else []),
        "  assets:",
    ]
    for kind, folder in (("backgrounds", backgrounds), ("objects", objects)):
        lines.append(f"    {kind}: {'builtin' if folder is None else _as_yaml(folder, out)}")
    if split == "all":
        lines.append("    # Too few images to keep some of them for probing; with three and more of a kind: pretrain.")
    else:
        lines.append("    # Two fifths of the images are kept for probing, so that it asks about images never seen.")
    lines.append(f"    split: {split}")
    if skips:
        lines.append("    # Some images cannot be used; 'stop' names them instead.")
        lines.append("    on_bad: skip")
    lines += ["    # Of your images, written into the store; such as CC-BY-4.0.", "    licence: ''", ""]
    return "\n".join(lines)


def _as_yaml(folder: Path, out: Path) -> str:
    """Return a folder's path as YAML: absolute if it was given so, else from the recipe's place."""
    if folder.is_absolute():
        return json.dumps(str(folder), ensure_ascii=False)
    path = os.path.relpath(folder.resolve(), out.resolve().parent)
    # A name such as 'crops' alone would mean the built-in images; and JSON's quotes are YAML's.
    return json.dumps(path if path.startswith("..") else f"./{path}", ensure_ascii=False)
