"""Recipes: what to render, train and probe, as YAML checked key by key."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, PrivateAttr, ValidationError

from smile_synth.errors import RecipeError, nearest
from smile_synth.params import StrictParams, first_problem, problem_of, shown
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.recipe.finetune import FinetuneParams
from smile_synth.recipe.keys import Key
from smile_synth.recipe.layers import Layer, apply_override, flatten, in_order, inherited_from
from smile_synth.recipe.pretrain import PretrainParams
from smile_synth.recipe.probe import ProbeParams
from smile_synth.recipe.provenance import annotated, value_at
from smile_synth.recipe.report import ReportParams
from smile_synth.recipe.videos import VideosParams
from smile_synth.recipe.yaml import read_yaml

MAX_EXTENDS = 8
# No key of a recipe, but of a recipe's file: it is gone once the file is read.
EXTENDS = Key(
    "extends",
    "str",
    "",
    "",
    "''",
    "another recipe, by bundled name or by path from this file, whose values hold where this file has none",
)


class Recipe(StrictParams):
    """Everything that a run depends on, apart from paths and devices.

    Examples:
        >>> recipe = ss.load_recipe("demo")
        >>> recipe.name, recipe.dataset.generator, recipe.probe.classifiers
        ('demo', 'cutouts', ('linear',))
        >>> print(recipe.value_text("pretrain.optimizer.eps"))
        1.0e-08  (default)
    """

    name: str = Field("", description="name of the recipe; empty means the file's name")
    description: str = Field("", description="one-line description")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of every random choice")
    dataset: DatasetParams | None = Field(None, description="what to render")
    pretrain: PretrainParams | None = Field(None, description="how to train")
    probe: ProbeParams | None = Field(None, description="what to ask the trained model")
    finetune: FinetuneParams | None = Field(None, description="how to fine-tune a model on labelled videos")
    videos: VideosParams | None = Field(None, description="labelled videos, and how they are read")
    report: ReportParams | None = Field(None, description="what a report puts beside the dataset")
    paths_from: str | None = Field(None, description="folder that relative paths start from; absent: the recipe's own")

    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _typed: str = PrivateAttr(default="RECIPE")
    _layers: tuple[Layer, ...] = PrivateAttr(default=())
    _overrides: tuple[str, ...] = PrivateAttr(default=())

    @property
    def folder(self) -> Path:
        """What relative paths in the recipe start from: its own folder, or here for a bundled recipe."""
        return self._folder

    def resolved(self) -> dict[str, Any]:
        """Return the recipe with every default filled in, as plain values that JSON and YAML can hold.

        The folder that paths start from is left out: it belongs to a machine, not to a dataset or a training.
        """
        return self.model_dump(mode="json", exclude={"paths_from"})

    def to_yaml(self, *, with_folder: bool = False) -> str:
        """Return the resolved recipe as YAML that ``load_recipe`` reads back to the same values.

        Args:
            with_folder: name the folder that relative paths start from, for a copy that lies elsewhere.
        """
        folder = {"paths_from": str(self.folder.resolve())} if with_folder else {}
        return yaml.safe_dump({**self.resolved(), **folder}, sort_keys=False, allow_unicode=True, width=110)

    def to_annotated_yaml(self) -> str:
        """Return the resolved recipe as YAML with a comment on every value: which recipe wrote it, or the default."""
        return annotated(self.resolved(), self._layers, self._overrides)

    def value_text(self, path: str) -> str:
        """Return the value at a path as YAML, and which recipe wrote it; for people."""
        return value_at(path, self.resolved(), self._layers, self._overrides)

    def section(self, name: str) -> Any:
        """Return the section ``name`` (dataset, pretrain, probe, finetune, videos or report).

        Raises:
            RecipeError: the recipe has no such section.
        """
        value = getattr(self, name)
        if value is None:
            names = ("dataset", "pretrain", "probe", "finetune", "videos", "report")
            have = [key for key in names if getattr(self, key) is not None]
            raise RecipeError(
                f"recipe {self.name!r} has no section {name!r}, it has {', '.join(have) or 'none'}; "
                f"add '{name}:' to it, or extend a recipe that has one"
            )
        return value

    @property
    def typed(self) -> str:
        """The recipe as it was named on the command line, overrides included."""
        return self._typed


def recipe_digest(resolved: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a resolved recipe, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(resolved, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def bundled_recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, name -> file."""
    folder = Path(str(resources.files("smile_synth_recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def recipe_file(name_or_path: str) -> Path:
    """Return the YAML file of a recipe, by bundled name or path.

    Raises:
        RecipeError: there is no such recipe.
    """
    return _locate(name_or_path)[0]


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, follow what it extends, apply overrides, and check it.

    Args:
        name_or_path: name of a bundled recipe, or path of a YAML file.
        overrides: ``key.sub=value`` each; the value is read as YAML.

    Returns:
        The checked recipe.

    Raises:
        RecipeError: there is no such recipe, it is not YAML, or a key or value is not allowed.

    Examples:
        >>> recipe = ss.load_recipe("demo", ["dataset.clips=64"])
        >>> recipe.dataset.clips, recipe.pretrain.student.width
        (64, 128)
    """
    path, folder = _locate(str(name_or_path))
    layers = _read_layers(path, path.stem)
    values = flatten(layers)
    for override in in_order(overrides):
        apply_override(values, override)
    try:
        recipe = _checked(values, folder, name=path.stem)
    except ValidationError as error:
        problem = problem_of(error, Recipe)
        source = inherited_from(problem.path, layers, overrides)
        note = f" (inherited from {source})" if source else ""
        raise RecipeError(f"recipe {path.name}: {problem.text}{note}") from None
    settings = [word for override in overrides if not override.startswith("seed=") for word in ("--set", override)]
    recipe._typed = shlex.join([str(name_or_path), *settings])
    recipe._layers, recipe._overrides = tuple(layers), tuple(overrides)
    return recipe


def parse_recipe(values: Mapping[str, Any], *, folder: Path, origin: str, name: str = "") -> Recipe:
    """Check plain values and return them as a recipe.

    Args:
        values: as read from YAML or from a store's attributes.
        folder: what relative paths start from.
        origin: what to call the values in an error.
        name: name of the recipe where the values give none.

    Raises:
        RecipeError: a key or value is not allowed.
    """
    if not isinstance(values, Mapping):
        raise RecipeError(f"recipe {origin} must hold keys and values, got {shown(values)}")
    try:
        return _checked(values, folder, name=name)
    except ValidationError as error:
        raise RecipeError(first_problem(error, Recipe, where=f"recipe {origin}")) from None


def _checked(values: Mapping[str, Any], folder: Path, *, name: str) -> Recipe:
    recipe = Recipe.model_validate({**values, "name": values.get("name") or name})
    recipe._folder = folder if recipe.paths_from is None else Path(recipe.paths_from)
    return recipe


def _locate(name_or_path: str, start: Path = Path()) -> tuple[Path, Path]:
    """Return the recipe's file, and the folder that its relative paths start from."""
    path = start / name_or_path
    try:
        kind = "file" if path.is_file() else "folder" if path.is_dir() else "other" if path.exists() else ""
    except OSError as error:
        raise RecipeError(f"recipe {shown(name_or_path)} cannot be read: {error.strerror}") from None
    if kind == "file":
        return path, path.resolve().parent
    known = bundled_recipes()
    if name_or_path in known:
        return known[name_or_path], Path.cwd()
    if kind:
        what = "folder" if kind == "folder" else "pipe or device"
        raise RecipeError(f"a recipe is a YAML file or a bundled name, got the {what} {name_or_path}")
    beside = [str(file) for suffix in ("*.yaml", "*.yml") for file in sorted(path.parent.glob(suffix))]
    raise RecipeError(
        f"there is no recipe {shown(name_or_path)}.{nearest(name_or_path, [*beside, *known])} "
        f"Give the path of a YAML file or one of: {', '.join(known)}"
    )


def _read_layers(path: Path, origin: str, *, depth: int = 0) -> list[Layer]:
    """Return what a recipe writes, then what it extends, and so on."""
    if depth > MAX_EXTENDS:
        raise RecipeError(f"recipe {path.name} extends more than {MAX_EXTENDS} others; does it extend itself?")
    values = read_yaml(path)
    base = values.pop("extends", None)
    if depth:
        # Those of the recipe that is extended, not of this one.
        values.pop("name", None)
        values.pop("description", None)
    layers = [Layer(origin, values)]
    if base is None:
        return layers
    if not isinstance(base, str):
        raise RecipeError(f"recipe {path.name}: 'extends' names one recipe, got {shown(base)}")
    return [*layers, *_read_layers(_locate(base, start=path.parent)[0], base, depth=depth + 1)]
