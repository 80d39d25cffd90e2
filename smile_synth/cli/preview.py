"""``smile-synth preview``: look at clips of a recipe, a store or a generator."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from smile_synth.cli.shell import command
from smile_synth.cli.stores import RecipeFolder, TrustCode
from smile_synth.errors import GeneratorError, RecipeError, StoreError, nearest, printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from smile_synth.generator.dataset import Dataset
    from smile_synth.generator.labels import LabelSpec

MAX_LABELS_IN_CAPTION = 4


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("preview")(preview)


def preview(
    source: str = typer.Argument(help="A recipe (name or file), a store or its URL, or a generator."),
    out: Path = typer.Option(
        Path("preview.png"), "--out", "-o", help="Picture: .png or .jpg; animation: .gif, .webp, .mp4."
    ),
    clip: int | None = typer.Option(None, "--clip", min=0, help="First clip to show; without --clips, only this one."),
    clips: int | None = typer.Option(None, "--clips", min=1, max=64, help="How many clips to show; 4 by default."),
    columns: int = typer.Option(8, "--columns", min=1, max=64, help="Frames of a clip in a picture."),
    boxes: bool = typer.Option(False, "--boxes", help="Draw the box of every object."),
    paths: bool = typer.Option(False, "--paths", help="Draw the trajectory of every object up to the frame."),
    motion: bool = typer.Option(False, "--motion", help="Show the exact motion to the next frame, as colours."),
    fps: float = typer.Option(12.5, "--fps", min=0.5, max=100, help="Frames a second of an animation."),
    seed: int | None = typer.Option(None, "--seed", min=0, help="Seed, instead of the recipe's."),
    overrides: list[str] = typer.Option(
        [], "--set", help="Change a value: key.sub=value of a recipe, or a parameter of a generator."
    ),
    folder: RecipeFolder = None,
    trust_code: TrustCode = False,
) -> None:
    """Draw clips as one picture (a row per clip, a column per frame) or as an animation.

    Nothing but the clips asked for is sampled, so a single clip that failed is repeated quickly.

    [bold]Examples:[/bold]

    \b
    smile-synth preview demo -o demo.png
    smile-synth preview demo --clip 17 --debug
    smile-synth preview data/demo.zarr --clips 9 --boxes --paths -o demo.webp
    smile-synth preview demo --clips 2 --motion -o motion.png
    smile-synth preview shapes --set level=textured -o shapes.gif
    """
    from smile_synth.media.preview import (
        STILL_SUFFIXES,
        animation,
        check_suffix,
        contact_sheet,
        save_animation,
        save_picture,
    )
    from smile_synth.store.summary import format_size

    check_suffix(out)
    count = clips or (4 if clip is None else 1)
    if "://" in source or Path(source).is_dir():
        if overrides or seed is not None:
            raise StoreError(f"{source} is a store, already rendered; --set and --seed go with a recipe or generator")
        shown = _from_store(source, clip or 0, count, folder, trust_code, with_motion=motion)
    else:
        if folder is not None or trust_code:
            raise StoreError(f"{source} is no store; --folder and --trust-code go with a virtual store")
        shown = _load(source, clip or 0, count, seed, overrides, with_motion=motion)
    marks: dict[str, Any] = {"boxes_BKT4": shown.boxes_BKT4, "show_boxes": boxes, "show_paths": paths}
    marks["motion_BTHW2"] = shown.motion_BTHW2
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() in STILL_SUFFIXES:
        save_picture(contact_sheet(shown.frames_BTHWC, captions=shown.captions, columns=columns, **marks), out)
    else:
        save_animation(animation(shown.frames_BTHWC, **marks), out, frames_per_second=fps)
    for line in (*shown.notes, *shown.captions):
        typer.echo(printable(line))
    typer.echo(f"wrote {printable(str(out))} ({format_size(out.stat().st_size)})")
    typer.echo(f"next: {shown.next_command}")


@dataclass(frozen=True)
class _Shown:
    """Clips to show, with what to write above each; ``notes`` say which of the user's images are used."""

    frames_BTHWC: npt.NDArray[np.uint8]
    boxes_BKT4: npt.NDArray[np.float32]
    captions: list[str]
    next_command: str
    notes: tuple[str, ...] = ()
    motion_BTHW2: npt.NDArray[np.float32] | None = None


def _load(source: str, first: int, count: int, seed: int | None, overrides: list[str], *, with_motion: bool) -> _Shown:
    from smile_synth.generator.registry import registered_names
    from smile_synth.recipe.layers import apply_override
    from smile_synth.recipe.recipe import bundled_recipes, load_recipe, parse_recipe

    if source in bundled_recipes() or source.endswith((".yaml", ".yml")):
        recipe = load_recipe(source, overrides if seed is None else [*overrides, f"seed={seed}"])
        chosen = [*shlex.split(recipe.typed), *(["--seed", seed] if seed is not None else [])]
        next_command = command("render", *chosen, "--out", f"data/{Path(source).stem}.zarr")
    else:
        known = registered_names()
        if not source.endswith(".py") and ":" not in source and source not in known:
            recipes = bundled_recipes()
            raise GeneratorError(
                f"{source!r} is no store, recipe or generator.{nearest(source, [*known, *recipes])} Generators: "
                f"{', '.join(known)}; recipes: {', '.join(recipes)}; or name a recipe's file or a store's folder"
            )
        values: dict[str, Any] = {"seed": seed or 0, "dataset": {"generator": source, "clips": first + count}}
        for override in overrides:
            apply_override(values, f"dataset.params.{override}")
        recipe = parse_recipe(values, folder=Path.cwd(), origin=f"for generator {source}")
        next_command = command("generators", "show", source)
    from smile_synth.generator.dataset import Dataset

    return _from_dataset(Dataset.of(recipe), first, count, next_command, with_motion=with_motion)


def _from_dataset(dataset: Dataset, first: int, count: int, next_command: str, *, with_motion: bool) -> _Shown:
    import numpy as np

    from smile_synth.render import render

    clips = _range_of_clips(first, count, len(dataset))
    cell_px = dataset.params.motion_cell_px if with_motion else None
    if with_motion and cell_px is None:
        raise RecipeError("the recipe keeps no motion; choose cells with --set dataset.store.motion.cell_px=8")
    frames, motion, captions = [], [], []
    boxes = np.full((len(clips), dataset.max_objects, dataset.canvas.num_frames, 4), np.nan, np.float32)
    for row, clip in enumerate(clips):
        scene = dataset.sample(clip)
        rendered = render(scene, motion_cell_px=cell_px)
        frames.append(rendered.frames_THWC)
        if rendered.motion_THW2 is not None:
            motion.append(rendered.motion_THW2)
        boxes[row, : len(scene.layers)] = rendered.boxes_KT4
        family = scene.generator or dataset.params.generator
        captions.append(_caption(clip, family, len(scene.layers), scene.labels, dataset.label_specs))
    shown_motion = np.stack(motion) if motion else None
    return _Shown(np.stack(frames), boxes, captions, next_command, dataset.assets.summaries, shown_motion)


def _from_store(
    path: str, first: int, count: int, folder: Path | None, trust_code: bool, *, with_motion: bool
) -> _Shown:
    import numpy as np

    from smile_synth.store import Store

    store = Store.open(path, folder=folder, trust_code=trust_code)
    clips = _range_of_clips(first, count, store.num_clips)
    objects_BK, families_B, boxes_BKT4 = (store.rows(name, clips) for name in ("object", "generator", "boxes"))
    labels = {name: store.rows(f"labels/{name}", clips) for name in store.label_specs}
    captions = [
        _caption(
            clip,
            store.generators[int(families_B[row])],
            int(np.isfinite(boxes_BKT4[row]).all(-1).any(-1).sum()) if objects_BK.size else 0,
            {name: values[row] for name, values in labels.items()},
            store.label_specs,
        )
        for row, clip in enumerate(clips)
    ]
    if with_motion and store.motion_cell_px is None:
        raise StoreError(f"{path} holds no motion; render it again, or preview its recipe with --motion")
    return _Shown(
        store.read_frames(clips),
        boxes_BKT4,
        captions,
        command("report", path, "-o", "report.html"),
        motion_BTHW2=store.read_motion(clips) if with_motion else None,
    )


def _range_of_clips(first: int, count: int, num_clips: int) -> list[int]:
    if first >= num_clips:
        raise RecipeError(f"--clip must be 0 to {num_clips - 1}, got {first}")
    return list(range(first, min(first + count, num_clips)))


def _caption(
    clip: int, family: str, num_objects: int, labels: Mapping[str, Any], specs: Mapping[str, LabelSpec]
) -> str:
    """Return ``clip 3 · cutouts · 2 objects · direction right`` with a few of the labels."""
    parts = [f"clip {clip}", family, f"{num_objects} object{'' if num_objects == 1 else 's'}"]
    # What a clip is comes before how fast and how large it is.
    for name, spec in sorted(specs.items(), key=lambda item: (item[1].kind != "class", item[0])):
        if name == "num_objects":
            continue
        value = labels[name]
        if spec.per == "object":
            if num_objects != 1:
                continue
            value = value[0]
        if spec.kind == "class":
            if int(value) >= 0:
                parts.append(f"{name} {spec.classes[int(value)]}")
        elif value == value:
            parts.append(f"{name} {float(value):.3g} {spec.unit}".rstrip())
    return " · ".join(parts[: 3 + MAX_LABELS_IN_CAPTION])
