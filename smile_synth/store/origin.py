"""The dataset that a store was rendered from, built again from what the store says of itself."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from pydantic import ValidationError

from smile_synth.errors import StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.registry import registered_only
from smile_synth.params import first_problem, shown
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.store.manifest import Manifest
from smile_synth.store.storage import Location


def stored_dataset(path: Location, manifest: Manifest, folder: Path, *, trust_code: bool = False) -> Dataset:
    """Return the dataset that a store was rendered from.

    Args:
        path: of the store, for messages.
        manifest: of the store, whose recipe and seed to take.
        folder: what relative paths of the recipe start from.
        trust_code: let the recipe name generators in files and modules that no installed package registers; their
            code is run.

    Raises:
        StoreError: the store's recipe is not valid here, or its clips were imported from videos.
        UntrustedCodeError: it names such a generator, and its code is not trusted.
    """
    if manifest.imported is not None:
        raise StoreError(
            f"the clips of {path} were imported from the videos of {shown(manifest.imported.source)} and cannot be "
            f"rendered again; import them again: {import_command(manifest)}"
        )
    try:
        params = DatasetParams.model_validate(manifest.recipe.get("dataset"))
    except ValidationError as error:
        raise StoreError(first_problem(error, DatasetParams, where=f"recipe of {path}")) from None
    with contextlib.nullcontext() if trust_code else registered_only(f"the recipe of {path}"):
        return StoredDataset(params, seed=manifest.seed, folder=folder, typed=str(path))


def import_command(manifest: Manifest) -> str:
    """Return the command that imports the clips of an imported store again."""
    assert manifest.imported is not None
    source, size = manifest.imported, manifest.canvas
    settings = {"decoder": source.decoder, "frames": size.num_frames, "sampling": source.sampling}
    settings |= {"stride": source.stride} if source.sampling == "dense" else {}
    command = ["smile-synth", "import-videos", source.source, "--part", source.part]
    command += ["--clips", str(source.clips_per_video), "--size", f"{size.height}x{size.width}"]
    for name, value in settings.items():
        command += ["--set", f"videos.{name}={value}"]
    return shlex.join([*command, "--out", "NEW"])


class StoredDataset(Dataset):
    """A dataset that a store names; a clip of it is repeated from the store."""

    def repeat_command(self, clip: int) -> str:
        """Return the command that renders one clip alone."""
        return shlex.join(["smile-synth", "preview", self.typed, "--clip", str(clip), "--debug"])
