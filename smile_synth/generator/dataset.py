"""A dataset before it is rendered: every clip's scene, made on its own from (recipe, seed, clip)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smile_synth.assets import Assets
from smile_synth.errors import GeneratorError, RecipeError, SmileSynthError
from smile_synth.generator.base import Generator, GeneratorContext
from smile_synth.generator.deadline import DeadlineError, deadline
from smile_synth.generator.faults import faults_of, said
from smile_synth.generator.labels import LabelSpec
from smile_synth.generator.registry import find
from smile_synth.params import first_problem, shown
from smile_synth.randomness import clip_rng
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.recipe.recipe import Recipe
from smile_synth.scene import NO_ASSET, Scene

# Importing and building a generator may read a model or a long list of files; after this it is taken to hang.
SECONDS_TO_BUILD = 300.0


class Dataset:
    """The scenes of a dataset, each a pure function of (recipe, seed, clip).

    Args:
        params: what to render.
        seed: seed of the dataset, 0 or more.
        folder: what relative paths in ``params`` start from, usually the recipe's folder.
        typed: the recipe as given on the command line, for the command that repeats a clip.
        assets: the images that ``params`` name, listed before; by default they are listed now.

    Raises:
        GeneratorError: the generator is unknown, or cannot be built.
        RecipeError: the generator's parameters are not valid.
        AssetError: backgrounds or objects cannot be read.
    """

    def __init__(
        self,
        params: DatasetParams,
        *,
        seed: int,
        folder: Path,
        typed: str = "RECIPE",
        assets: Assets | None = None,
    ) -> None:
        self.params, self.seed, self.folder, self.typed = params, seed, folder, typed
        self.canvas = params.canvas.canvas
        self.assets = Assets.build(params.assets, folder=folder) if assets is None else assets
        context = GeneratorContext(canvas=self.canvas, assets=self.assets, folder=folder)
        self.generator = build_generator(params.generator, params.params, context, folder)
        self.max_objects, self.label_specs = _promises(params.generator, self.generator)

    @classmethod
    def of(cls, recipe: Recipe) -> Dataset:
        """Return the dataset that the recipe's section ``dataset`` describes.

        Raises:
            SmileSynthError: the recipe has no such section, or what it asks for cannot be built.
        """
        return cls(recipe.section("dataset"), seed=recipe.seed, folder=recipe.folder, typed=recipe.typed)

    def __len__(self) -> int:
        return self.params.clips

    def __reduce__(self) -> tuple[Any, ...]:
        # With the list of images: a file that comes or goes meanwhile must not give a worker other ids.
        return (_rebuild, (type(self), self.params, self.seed, self.folder, self.typed, self.assets))

    @property
    def generator_names(self) -> tuple[str, ...]:
        """Names of the families that can appear, the asked one first."""
        return (self.params.generator, *getattr(self.generator, "families", ()))

    def sample(self, clip: int) -> Scene:
        """Return the scene of one clip.

        Args:
            clip: 0 to ``len(self) - 1``.

        Raises:
            GeneratorError: the generator failed or broke its contract; names clip, seed and how to repeat it.
        """
        if not 0 <= clip < len(self):
            raise RecipeError(f"clip must be 0 to {len(self) - 1}, got {clip}")
        try:
            with deadline(self.params.clip_timeout_s):
                scene = self.generator.sample(rng=clip_rng(self.seed, clip))
                problem = self._problem_with(scene)
        except SmileSynthError as error:
            raise self.failure(clip, str(error)) from error
        except DeadlineError as error:
            raise self.failure(clip, f"{error}, which dataset.clip_timeout_s allows") from error
        except (Exception, SystemExit) as error:
            raise self.failure(clip, said(error)) from error
        if problem:
            raise self.failure(clip, problem)
        return scene

    def repeat_command(self, clip: int) -> str:
        """Return the command that samples and renders one clip alone."""
        return f"smile-synth preview {self.typed} --seed {self.seed} --clip {clip} --debug"

    def _problem_with(self, scene: Scene) -> str:
        """Return how a scene breaks the contract, or an empty string."""
        if not isinstance(scene, Scene):
            return f"sample() must return a Scene, got {type(scene).__name__}"
        if scene.canvas != self.canvas:
            return f"the scene's canvas (frames x rows x columns) must be {self.canvas}, got {scene.canvas}"
        if len(scene.layers) > self.max_objects:
            return f"at most {self.max_objects} layers were promised, got {len(scene.layers)}"
        if set(scene.labels) != set(self.label_specs):
            return f"labels must be {sorted(self.label_specs)} as declared, got {sorted(scene.labels)}"
        for name, spec in self.label_specs.items():
            problem = spec.problem_with(scene.labels[name], len(scene.layers))
            if problem:
                return f"label {name!r} {problem}"
        for asset_id in (scene.background_id, *(layer.object_id for layer in scene.layers)):
            if not NO_ASSET <= asset_id < len(self.assets):
                return f"asset {asset_id} does not exist; the table has {len(self.assets)} rows"
        return ""

    def failure(self, clip: int, reason: str) -> GeneratorError:
        """Return the error that names generator, clip, seed, reason, and how to repeat the clip."""
        return GeneratorError(
            f"generator {self.params.generator!r} failed in clip {clip} (seed {self.seed}): {reason}. "
            f"Repeat just that clip with: {self.repeat_command(clip)}"
        )


def build_generator(name: str, params: Mapping[str, Any], context: GeneratorContext, folder: Path) -> Generator[Any]:
    """Find a generator and build it with checked parameters.

    Args:
        name: as in ``DatasetParams.generator``.
        params: the generator's own parameters, unchecked.
        context: canvas and assets.
        folder: what relative file names start from.

    Raises:
        GeneratorError: there is no such generator, or its constructor failed.
        RecipeError: a parameter is unknown or out of range.
    """
    with faults_of(name, "cannot be imported", seconds=SECONDS_TO_BUILD):
        cls = find(name, folder)
    with faults_of(name, "cannot be built", seconds=SECONDS_TO_BUILD):
        try:
            checked = cls.Params.model_validate(dict(params))
        except ValidationError as error:
            raise RecipeError(first_problem(error, cls.Params, where=f"parameters of generator {name!r}")) from None
        return cls(checked, context)


def _promises(name: str, generator: Generator[Any]) -> tuple[int, dict[str, LabelSpec]]:
    """Return the most objects and the labels that a generator promises."""
    with faults_of(name, "cannot say what it promises", seconds=SECONDS_TO_BUILD):
        most, specs = generator.max_objects, dict(generator.label_specs)
        if isinstance(most, bool) or not isinstance(most, int) or most < 0:
            raise GeneratorError(f"generator {name!r}: max_objects must be a whole number of 0 or more, got {most!r}")
        if not all(isinstance(key, str) and isinstance(spec, LabelSpec) for key, spec in specs.items()):
            raise GeneratorError(f"generator {name!r}: label_specs must map names to LabelSpec, got {shown(specs)}")
        return most, specs


def _rebuild(
    kind: type[Dataset], params: DatasetParams, seed: int, folder: Path, typed: str, assets: Assets
) -> Dataset:
    return kind(params, seed=seed, folder=folder, typed=typed, assets=assets)
