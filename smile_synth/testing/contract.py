"""The contract that every generator must keep, ours or a user's: as functions, and as a pytest class to inherit.

from smile_synth.testing import GeneratorContract

class TestConfetti(GeneratorContract):
    generator = Confetti
"""

from __future__ import annotations

import hashlib
import math
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from smile_synth.assets import Assets
from smile_synth.generator.base import Generator, GeneratorContext
from smile_synth.generator.registry import find, first_sentence
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.render import render
from smile_synth.render.surfaces import surface_points
from smile_synth.render.truth import visible_layers
from smile_synth.scene import NO_ASSET, Canvas, Layer, Scene

SMALL = Canvas(64, 64, 8)
ODD = Canvas(48, 76, 5)
CLIPS = 6
# A generator whose objects are hardly ever seen has its places or sizes wrong.
LEAST_SEEN = 0.5
# At edges a pixel shows what lies beside its middle; elsewhere a surface's point lies in it.
FARTHEST_SURFACE_PX = 1.0
MOST_FAR = 0.02


class ContractBroken(AssertionError):  # noqa: N818 - it is an assertion: pytest shows it as one
    """A generator breaks the contract; the message says how, and what to change."""


@dataclass(frozen=True)
class Subject:
    """A generator under test, with what it is built from.

    Args:
        generator: a class, or a name as recipes write it.
        params: its own parameters.
        assets: where backgrounds and objects come from.
        folder: what relative file names start from.
        seed: of the clips that are drawn.
    """

    generator: type[Generator[Any]] | str
    params: Mapping[str, Any] = field(default_factory=dict)
    assets: AssetsParams = field(default_factory=AssetsParams)
    folder: Path = field(default_factory=Path)
    seed: int = 0

    @property
    def name(self) -> str:
        """The generator as recipes write it, or the name of its class."""
        return self.generator if isinstance(self.generator, str) else self.generator.__name__

    @cached_property
    def cls(self) -> type[Generator[Any]]:
        """The generator's class."""
        return find(self.generator, self.folder) if isinstance(self.generator, str) else self.generator

    def build(self, canvas: Canvas = SMALL) -> Generator[Any]:
        """Return a fresh generator."""
        params = self.cls.Params.model_validate(dict(self.params))
        return self.cls(params, GeneratorContext(canvas=canvas, assets=self.built_assets, folder=self.folder))

    def scene(self, generator: Generator[Any], clip: int) -> Scene:
        """Return the scene of one clip."""
        scene = generator.sample(rng=clip_rng(self.seed, clip))
        expect(isinstance(scene, Scene), f"sample() must return a Scene, got {type(scene).__name__}")
        return scene

    @cached_property
    def built_assets(self) -> Assets:
        """Backgrounds and objects."""
        return Assets.build(self.assets, folder=self.folder)


def expect(holds: bool, message: str) -> None:
    """Raise ``ContractBroken`` with this message unless it holds."""
    if not holds:
        raise ContractBroken(message)


def check_describes_itself(subject: Subject) -> None:
    """has a docstring, and a description for every parameter"""
    expect(
        bool(first_sentence(vars(subject.cls)["__doc__"] or "")),
        f"{subject.cls.__name__} has no docstring; its first sentence is what `generators list` shows",
    )
    bare = [name for name, info in subject.cls.Params.model_fields.items() if not info.description]
    expect(not bare, f"parameters without a description: {', '.join(bare)}; use Field(default, description=...)")


def check_builds_on_any_canvas(subject: Subject) -> None:
    """samples scenes of the canvas it was given, square or not"""
    for canvas in (SMALL, ODD):
        scene = subject.scene(subject.build(canvas), 0)
        expect(
            scene.canvas == canvas, f"the scene's canvas (frames x rows x columns) must be {canvas}, got {scene.canvas}"
        )


def check_is_deterministic(subject: Subject) -> None:
    """draws the same scene from the same rng"""
    first, second = subject.build(), subject.build()
    for clip in range(CLIPS):
        same = scene_digest(subject.scene(first, clip)) == scene_digest(subject.scene(second, clip))
        expect(same, f"clip {clip} differs when it is drawn twice: take every random number from `rng`, none from time")


def check_keeps_no_state(subject: Subject) -> None:
    """draws a clip alike whatever was drawn before"""
    used, fresh = subject.build(), subject.build()
    for clip in range(CLIPS - 1):
        subject.scene(used, clip)
    last = CLIPS - 1
    same = scene_digest(subject.scene(used, last)) == scene_digest(subject.scene(fresh, last))
    expect(same, f"clip {last} differs after other clips were drawn: sample() must not change the generator")


def check_depends_on_the_rng(subject: Subject) -> None:
    """draws different scenes from different rngs"""
    generator = subject.build()
    digests = {scene_digest(subject.scene(generator, clip)) for clip in range(CLIPS)}
    expect(len(digests) > 1, f"{CLIPS} clips are all the same: draw something from `rng`")


def check_leaves_global_randomness_alone(subject: Subject) -> None:
    """touches neither numpy's nor Python's global random numbers"""
    generator = subject.build()
    subject.scene(generator, 0)
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - watched, not used
    try:
        # A state that no generator would set itself, or one that seeds and then draws would go unseen.
        np.random.seed(718281828)  # noqa: NPY002
        random.seed(718281828)
        before = _global_states()
        subject.scene(generator, 0)
        after = _global_states()
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
    expect(before[0] == after[0], "sample() uses numpy's global random numbers (np.random.*): use `rng`")
    expect(before[1] == after[1], "sample() uses Python's global random numbers (random.*): use `rng`")


def check_scenes_share_nothing(subject: Subject) -> None:
    """hands out arrays of its own, which others may change"""
    generator = subject.build()
    first = subject.scene(generator, 0)
    before = scene_digest(first)
    for array in _arrays(first):
        if array.flags.writeable:
            array[...] = 0
    same = scene_digest(subject.scene(generator, 0)) == before
    expect(same, "changing a scene's arrays changes later scenes: copy what the generator keeps, or make it read-only")


def check_promises_hold(subject: Subject) -> None:
    """has at most max_objects layers, and asset ids from the asset table"""
    generator = subject.build()
    for clip in range(CLIPS):
        scene = subject.scene(generator, clip)
        expect(
            len(scene.layers) <= generator.max_objects,
            f"clip {clip} has {len(scene.layers)} layers, max_objects promises at most {generator.max_objects}",
        )
        for asset_id in (scene.background_id, *(layer.object_id for layer in scene.layers)):
            expect(
                NO_ASSET <= asset_id < len(subject.built_assets),
                f"clip {clip} names asset {asset_id}; the table has {len(subject.built_assets)} rows, -1 is none",
            )


def check_labels_are_declared(subject: Subject) -> None:
    """gives every declared label, of the declared kind and size, and no other"""
    generator = subject.build()
    for clip in range(CLIPS):
        scene = subject.scene(generator, clip)
        declared, given = set(generator.label_specs), set(scene.labels)
        expect(declared == given, f"clip {clip} has labels {sorted(given)}, label_specs declares {sorted(declared)}")
        for name, spec in generator.label_specs.items():
            problem = spec.problem_with(scene.labels[name], len(scene.layers))
            expect(not problem, f"label {name!r} of clip {clip} {problem}")


def check_objects_are_seen(subject: Subject) -> None:
    """draws objects that are seen, inside their boxes"""
    generator = subject.build()
    seen = []
    for clip in range(CLIPS):
        scene = subject.scene(generator, clip)
        boxes_KT4 = render(scene).boxes_KT4
        seen += [bool(np.isfinite(boxes_T4).any()) for boxes_T4 in boxes_KT4]
        for k, layer in enumerate(scene.layers):
            _check_box(scene, layer, boxes_KT4[k], f"object {k} of clip {clip}")
    share = sum(seen) / len(seen) if seen else 1.0
    expect(share >= LEAST_SEEN, f"only {share:.0%} of {len(seen)} objects are ever seen on the canvas: check poses")


def check_surfaces_lie_where_they_are_drawn(subject: Subject) -> None:
    """gives surfaces, if any, that lie where they are drawn"""
    generator = subject.build()
    for clip in range(CLIPS):
        scene = subject.scene(generator, clip)
        for layer, distances_N in surface_distances(scene):
            far = float((distances_N > FARTHEST_SURFACE_PX).mean()) if len(distances_N) else 0.0
            whose = "the background" if layer < 0 else f"object {layer}"
            expect(
                far <= MOST_FAR,
                f"{far:.0%} of the surface of {whose} in clip {clip} is projected more than {FARTHEST_SURFACE_PX} px "
                "from the pixels that show it: check points and projections",
            )


def surface_distances(scene: Scene) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """Yield the layer of every surface (-1: background), and how far its points are from the pixels that show them."""
    drawn_THW = visible_layers(scene)
    surfaces = {-1: scene.background_surface, **{k: layer.surface for k, layer in enumerate(scene.layers)}}
    for layer, surface in surfaces.items():
        if surface is None:
            continue
        distances = []
        for t in range(scene.canvas.num_frames):
            rows, columns = np.nonzero(drawn_THW[t] == layer)
            middles_N2 = np.stack([columns + 0.5, rows + 0.5], axis=1)
            seen = surface_points(scene, layer, t, middles_N2)
            if seen is not None:
                apart_N2 = seen.places_NT2([t])[:, 0] - middles_N2
                distances.append(np.hypot(apart_N2[:, 0], apart_N2[:, 1]))
        found_N = np.concatenate(distances)
        yield layer, found_N[np.isfinite(found_N)]


def check_pickles(subject: Subject) -> None:
    """survives pickling, which is how it reaches worker processes"""
    generator = subject.build()
    try:
        copy = pickle.loads(pickle.dumps(generator))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ContractBroken(f"it cannot be pickled ({error}): keep no open files, lambdas or locks") from error
    same = scene_digest(subject.scene(copy, 0)) == scene_digest(subject.scene(generator, 0))
    expect(same, "a pickled generator draws another scene: what it draws must depend on params and context alone")


Check = Callable[[Subject], None]
CHECKS: tuple[Check, ...] = (
    check_describes_itself,
    check_builds_on_any_canvas,
    check_is_deterministic,
    check_keeps_no_state,
    check_depends_on_the_rng,
    check_leaves_global_randomness_alone,
    check_scenes_share_nothing,
    check_promises_hold,
    check_labels_are_declared,
    check_objects_are_seen,
    check_surfaces_lie_where_they_are_drawn,
    check_pickles,
)


class GeneratorContract:
    """Inherit this in a pytest class that starts with ``Test`` and set ``generator``; every test comes with it.

    Attributes:
        generator: the class, or a name as recipes write it.
        params: its own parameters.
        assets: where backgrounds and objects come from, as recipes write it.
        folder: what relative file names start from.
    """

    generator: ClassVar[type[Generator[Any]] | str]
    params: ClassVar[Mapping[str, Any]] = {}
    assets: ClassVar[Mapping[str, Any]] = {}
    folder: ClassVar[Path] = Path()

    @property
    def subject(self) -> Subject:
        """The generator under test."""
        return Subject(self.generator, self.params, AssetsParams.model_validate(self.assets), self.folder)

    def test_describes_itself(self) -> None:
        check_describes_itself(self.subject)

    def test_builds_on_any_canvas(self) -> None:
        check_builds_on_any_canvas(self.subject)

    def test_is_deterministic(self) -> None:
        check_is_deterministic(self.subject)

    def test_keeps_no_state(self) -> None:
        check_keeps_no_state(self.subject)

    def test_depends_on_the_rng(self) -> None:
        check_depends_on_the_rng(self.subject)

    def test_leaves_global_randomness_alone(self) -> None:
        check_leaves_global_randomness_alone(self.subject)

    def test_scenes_share_nothing(self) -> None:
        check_scenes_share_nothing(self.subject)

    def test_promises_hold(self) -> None:
        check_promises_hold(self.subject)

    def test_labels_are_declared(self) -> None:
        check_labels_are_declared(self.subject)

    def test_objects_are_seen(self) -> None:
        check_objects_are_seen(self.subject)

    def test_surfaces_lie_where_they_are_drawn(self) -> None:
        check_surfaces_lie_where_they_are_drawn(self.subject)

    def test_pickles(self) -> None:
        check_pickles(self.subject)


def scene_digest(scene: Scene) -> str:
    """Return a digest of everything that a scene says."""
    state = hashlib.blake2b(digest_size=16)
    for array in _arrays(scene):
        state.update(f"{array.dtype}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    for name in sorted(scene.labels):
        state.update(f"{name}={np.asarray(scene.labels[name]).tolist()}".encode())
    names = [(layer.object_id, layer.class_name) for layer in scene.layers]
    state.update(f"{scene.background_id}{scene.generator}{names}".encode())
    return state.hexdigest()


def _global_states() -> tuple[bytes, bytes]:
    return pickle.dumps(np.random.get_state()), pickle.dumps(random.getstate())  # noqa: NPY002


def _arrays(scene: Scene) -> list[npt.NDArray[Any]]:
    arrays: list[npt.NDArray[Any]] = [scene.background]
    if scene.camera_T33 is not None:
        arrays.append(scene.camera_T33)
    for layer in scene.layers:
        arrays += [layer.texture, layer.pose_T6, layer.opacity_T]
    for surface in (scene.background_surface, *(layer.surface for layer in scene.layers)):
        if surface is not None:
            arrays += [surface.points_THW3, surface.parts_THW, surface.projections_PT34]
    return arrays


def _check_box(scene: Scene, layer: Layer, boxes_T4: npt.NDArray[np.float32], what: str) -> None:
    """Draw the layer alone, and see that it changes the background nowhere outside its box."""
    alone = Scene(scene.canvas, scene.background, scene.camera_T33, (layer,))
    bare = Scene(scene.canvas, scene.background, scene.camera_T33)
    changed_THW = (render(alone).frames_THWC != render(bare).frames_THWC).any(axis=-1)
    for t, box in enumerate(boxes_T4):
        rows, columns = np.nonzero(changed_THW[t])
        if len(rows) == 0:
            continue
        inside = not math.isnan(box[0]) and (
            columns.min() >= math.floor(box[0])
            and rows.min() >= math.floor(box[1])
            and columns.max() < math.ceil(box[2])
            and rows.max() < math.ceil(box[3])
        )
        expect(bool(inside), f"{what} is drawn outside its box {box.tolist()} in frame {t}")
