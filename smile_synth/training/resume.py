"""Which checkpoint a run resumes from, and whether it is of the run that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smile_synth.errors import CheckpointError, RecipeError, TrainingError
from smile_synth.params import differences
from smile_synth.recipe.recipe import Recipe, parse_recipe
from smile_synth.training.checkpoint import TENSORS
from smile_synth.training.distributed import World
from smile_synth.training.run_folder import RunFolder
from smile_synth.training.stages import Stage

# Sections of a training that may change from one start of a run to the next.
FREE_SECTIONS = ("runtime", "watch", "checkpoint")


def find_state(
    folder: RunFolder, world: World, *, resume: bool, check: Callable[[Mapping[str, Any]], None]
) -> tuple[Mapping[str, Any] | None, str, tuple[int, ...]]:
    """Return the checkpoint to resume from on every rank, what to tell people of it, and the folder's fingerprint.

    Args:
        folder: of the run.
        world: the processes that train together; only the first one looks, and has the tensors.
        resume: resume from the latest checkpoint, if there is one.
        check: raises a CheckpointError where a checkpoint is of another run.

    Raises:
        SmileSynthError: there is a run and nobody asked to resume it, or its checkpoint does not fit.
    """
    found: list[dict[str, Any]] = []

    def find() -> dict[str, Any]:
        seen = folder.fingerprint()
        state, note = _newest(folder, resume)
        if state is not None:
            check(state)
            found.append(state)
        plain = None if state is None else {key: value for key, value in state.items() if key not in TENSORS}
        return {"seen": seen, "note": note, "state": plain}

    shared = world.from_first(find)
    return (found[0] if found else shared["state"]), shared["note"], tuple(shared["seen"])


def _newest(folder: RunFolder, resume: bool) -> tuple[dict[str, Any] | None, str]:
    latest = folder.checkpoints().latest
    if not resume:
        if folder.has_run:
            raise TrainingError(f"{folder.path} holds a run already; add --resume, or choose another --out")
        return None, ""
    if not latest.is_file():
        kept = folder.checkpoints().kept()
        if kept:
            raise CheckpointError(
                f"{latest} is missing, but {kept[-1].name} is there: copy it to {latest.name} to resume from it, "
                f"or choose another --out to start from scratch"
            )
        return None, ""
    return folder.checkpoints().newest_whole()


def check_same_run(
    state: Mapping[str, Any],
    recipe: Recipe,
    stages: Sequence[Stage],
    *,
    fixed: Callable[[Mapping[str, Any]], dict[str, Any]],
    data: str,
) -> None:
    """Refuse a checkpoint whose run was begun with another recipe or other data.

    Args:
        state: the checkpoint.
        recipe: what is asked for.
        stages: the recipe's, laid out over the data.
        fixed: from a resolved recipe to what must not change on resume.
        data: what the updates of an epoch are counted over, such as ``store``.

    Raises:
        CheckpointError: it differs.
    """
    try:
        # Values that this version knows and the one that began did not are at their defaults.
        before = parse_recipe(state["recipe"], folder=recipe.folder, origin="of the run").resolved()
    except RecipeError as error:
        raise CheckpointError(
            f"the run was begun with another version of smile-synth, whose recipes this one does not read ({error}); "
            f"resume with that version, or start a new run with another --out"
        ) from error
    lengths = [[stage.name, stage.num_steps] for stage in stages]
    was, now = ([str(name) for name, _ in parts] for parts in (state["stages"], lengths))
    if was != now:
        raise CheckpointError(
            f"the run's stages are {', '.join(was)}, the recipe's are {', '.join(now)}; "
            f"stages cannot change on resume, start a new run with another --out"
        )
    for key, old, new in differences(fixed(before), fixed(recipe.resolved())):
        raise CheckpointError(
            f"{key} was {old!r} when the run began and is {new!r} now; resume with the run's own recipe.yaml, "
            f"or start a new run with another --out"
        )
    if [list(part) for part in state["stages"]] != lengths:
        raise CheckpointError(
            f"the run's stages have {', '.join(str(n) for _, n in state['stages'])} updates, with this {data} they "
            f"would have {', '.join(str(n) for _, n in lengths)}; resume with the {data} that the run began with"
        )


def without(values: Mapping[str, Any] | None, *keys: str) -> dict[str, Any]:
    """Return a section of a resolved recipe without some keys; an absent section is an empty one."""
    return {key: value for key, value in (values or {}).items() if key not in keys}
