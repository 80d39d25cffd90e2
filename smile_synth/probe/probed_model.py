"""What is probed: a run of ours, a published file or a Hugging Face folder, with its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from smile_synth.assets import Assets
from smile_synth.errors import AssetError, ProbeError
from smile_synth.interop.encoder import VideoEncoder, load_encoder, random_like
from smile_synth.masking.grid import TokenGrid
from smile_synth.probe.extractors import DifferenceExtractor, NetworkExtractor
from smile_synth.probe.features import Extractor
from smile_synth.probe.results import TRAINED, UNTRAINED
from smile_synth.probe.supervised import SupervisedNetwork
from smile_synth.recipe.dataset import CanvasParams
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.recipe.probe import ProbeParams
from smile_synth.recipe.recipe import Recipe, load_recipe
from smile_synth.store import Store
from smile_synth.teachers.teacher import build_teacher
from smile_synth.training.run_folder import RunFolder

OFFLINE_TEACHER = TeacherParams(library="efficientnet_lite0")


@dataclass(frozen=True, eq=False)
class ProbedModel:
    """A frozen encoder and where it comes from.

    Args:
        path: as the user named it.
        encoder: frozen, on its device.
        run: folder of the run that it comes from, None where there is none.
        recipe: of that run.
        device: where networks run.
    """

    path: Path
    encoder: VideoEncoder
    run: Path | None
    recipe: Recipe | None
    device: torch.device

    @property
    def grid(self) -> TokenGrid:
        """Tokens of a clip."""
        return self.encoder.shape.grid

    @property
    def canvas(self) -> CanvasParams:
        """Size of the clips that the encoder takes."""
        canvas = self.grid.canvas
        return CanvasParams(height=canvas.height, width=canvas.width, frames=canvas.num_frames)

    @property
    def out(self) -> Path:
        """Where results go unless the user says: inside a run, beside anything else."""
        if self.run is not None and self.run == self.path:
            return self.path / "probe"
        return self.path.with_name(f"{self.path.name}-probe")

    @property
    def teacher(self) -> TeacherParams:
        """The run's teacher; the offline one where it had none, or where there is no run."""
        pretrain = self.recipe.pretrain if self.recipe is not None else None
        return (pretrain.teacher_or_default if pretrain is not None else None) or OFFLINE_TEACHER


def open_model(
    path: Path, device: torch.device, *, canvas: CanvasParams | None = None, heads: int | None = None
) -> ProbedModel:
    """Load what is to be probed.

    Args:
        path: a run folder or checkpoint of ours, an export, a published VideoMAE file, or a Hugging Face folder.
        device: where networks run.
        canvas: size of the clips, where it is not to be the one that the encoder was trained on.
        heads: attention heads, where the file does not tell them.

    Raises:
        ProbeError: there is nothing at the path, or the run has no checkpoint yet.
        WeightsError: what is there is no encoder.
    """
    if not path.exists():
        raise ProbeError(
            f"there is nothing at {path}; name a run folder, a checkpoint, or a folder in Hugging Face's layout"
        )
    run = RunFolder(path)
    if path.is_dir() and run.has_run and not run.checkpoints().latest.is_file():
        raise ProbeError(
            f"run {path} has no checkpoint yet ({run.checkpoints().latest} is missing); "
            "train it, or wait for the first one"
        )
    encoder = load_encoder(
        path,
        heads=heads,
        num_frames=None if canvas is None else canvas.frames,
        image_size=None if canvas is None else (canvas.height, canvas.width),
        device=device,
    )
    folder = run_of(path)
    recipe = load_recipe(RunFolder(folder).recipe) if folder is not None else None
    return ProbedModel(path, encoder, folder, recipe, device)


def run_of(path: Path) -> Path | None:
    """Return the folder of the run that a run folder, or a checkpoint inside one, belongs to; None if there is none."""
    folders = (path, path.resolve().parent.parent)
    return next((folder for folder in folders if RunFolder(folder).recipe.is_file()), None)


def extractors_of(probed: ProbedModel, params: ProbeParams) -> list[Extractor]:
    """Return the trained encoder, the blocks of it and the baselines that the parameters ask for.

    Raises:
        WeightsError: the teacher's weights are absent.
        ModelError: the encoder has no such block.
    """
    blocks = [_block_extractor(probed, number) for number in params.blocks]
    return [trained_extractor(probed.encoder, probed.device), *blocks, *_baselines(probed, params)]


def supervised_of(probed: ProbedModel, params: ProbeParams) -> SupervisedNetwork | None:
    """Return what trains the same network on the answers; None where the parameters do not ask for it."""
    if "supervised" not in params.baselines:
        return None
    return SupervisedNetwork(probed.encoder.shape, params.supervised, probed.device)


def _block_extractor(probed: ProbedModel, number: int) -> NetworkExtractor:
    title = f"trained student, block {number} of {probed.encoder.shape.encoder.depth}"
    return NetworkExtractor(f"block-{number}", title, probed.encoder.up_to(number), probed.device)


def trained_extractor(encoder: VideoEncoder, device: torch.device) -> NetworkExtractor:
    """Return the features of a trained encoder."""
    return NetworkExtractor(TRAINED, "trained student", encoder, device)


def _baselines(probed: ProbedModel, params: ProbeParams) -> Sequence[Extractor]:
    made: list[Extractor] = []
    if "untrained" in params.baselines:
        twin = random_like(probed.encoder, seed=params.seed)
        made.append(NetworkExtractor(UNTRAINED, "same network untrained", twin, probed.device))
    if "differences" in params.baselines:
        made.append(DifferenceExtractor())
    if "teacher" in params.baselines:
        made.append(_teacher(probed))
    return made


def _teacher(probed: ProbedModel) -> NetworkExtractor:
    params = probed.teacher
    folder = probed.recipe.folder if probed.recipe is not None else None
    teacher = build_teacher(params, probed.grid, folder=folder, device=probed.device)
    return NetworkExtractor("teacher", f"mean of {params.model_name}", teacher, probed.device)


def pretraining_assets(probed: ProbedModel, stores: Sequence[Store]) -> tuple[dict[str, str], str]:
    """Return the images that the model was pretrained on, digest -> name, and a note where they are not known.

    Args:
        probed: its run's recipe says what was rendered.
        stores: what it was pretrained on, where the user names it; these count instead of the recipe.
    """
    if stores:
        return {row.digest: row.name for store in stores for row in store.assets}, ""
    dataset = probed.recipe.dataset if probed.recipe is not None else None
    if probed.recipe is None or dataset is None:
        return {}, "note: what the model was pretrained on is not known here, so shared images cannot be excluded"
    try:
        # The images alone: the generator of a stranger's run is never imported for them.
        assets = Assets.build(dataset.assets, folder=probed.recipe.folder)
        return {row.digest: row.name for row in assets.rows}, ""
    except AssetError:
        return {}, (
            "note: the images of pretraining are not where the run's recipe says, so shared ones cannot be excluded; "
            "name the store with --data"
        )
