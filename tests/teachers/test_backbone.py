"""Image models: the same features whatever form their weights come in, any model, and no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from smile_synth.errors import WeightsError
from smile_synth.masking.grid import TokenGrid
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.teachers.backbone import CLIP_MEAN, CLIP_STD
from smile_synth.teachers.teacher import build_teacher

GRID = TokenGrid(2, 4, 4, 2, 16)
TINY_CLIP = "test-tiny-quickgelu"


def some_frames(grid: TokenGrid = GRID, clips: int = 2) -> Tensor:
    canvas = grid.canvas
    size = (clips, canvas.num_frames, canvas.height, canvas.width, 3)
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make open_clip know a CLIP small enough for tests; everything else about it is as OpenAI's."""
    for name, quick in ((TINY_CLIP, True), ("test-tiny", False)):
        config = {
            "embed_dim": 16,
            "quick_gelu": quick,
            "vision_cfg": {"image_size": 64, "layers": 3, "width": 128, "patch_size": 16},
            "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1},
        }
        path = tmp_path_factory.mktemp("configs") / f"{name}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)
    return TINY_CLIP


class Archive(nn.Module):
    """A CLIP as OpenAI's archives hold it: towers, and three numbers beside them."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__()
        self.visual, self.token_embedding = model.visual, model.token_embedding
        for name, value in {"input_resolution": size, "context_length": 77, "vocab_size": 49408}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, images: Tensor) -> Tensor:
        return self.visual(images)


def save_clip(model: Any, folder: Path, form: str, size: int) -> Path:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    path = folder / ("clip.safetensors" if form == "safetensors" else f"{form}.pt")
    if form == "safetensors":
        save_file(weights, path)
    elif form == "nested":
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in weights.items()}}, path)
    elif form == "visual":
        torch.save(model.visual.state_dict(), path)
    elif form == "torchscript":
        torch.jit.trace(Archive(model, size), torch.zeros(1, 3, size, size)).save(str(path))
    else:
        torch.save(weights, path)
    return path


def clip_features(model: Any, images: Tensor) -> Tensor:
    """Return patch tokens after the final norm and before the projection, by the tower's own parts."""
    visual = model.visual
    with torch.no_grad():
        return visual.ln_post(visual.transformer(visual._embeds(images)))[:, 1:]


def check_clip_form(name: str, grid: TokenGrid, folder: Path, form: str) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(name)
    size = grid.canvas.height
    path = save_clip(model, folder, form, size)
    teacher = build_teacher(TeacherParams(model=name, weights_file=path.name), grid, folder=folder)
    frames = some_frames(grid, clips=1)
    images = frames[0, ::2].permute(0, 3, 1, 2).float() / 255
    images = (images - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    expected = clip_features(model, images).flatten(0, 1)
    torch.testing.assert_close(teacher(frames)[0], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("form", ["plain", "nested", "visual", "safetensors", "torchscript"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_clip_weights_of_every_form_give_the_towers_own_patch_tokens(tiny_clip: str, tmp_path: Path, form: str) -> None:
    check_clip_form(tiny_clip, GRID, tmp_path, form)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "safetensors", "torchscript"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_weights_of_the_published_teachers_shape_load_from_every_form(tmp_path: Path, form: str) -> None:
    check_clip_form("ViT-B-16-quickgelu", TokenGrid(1, 14, 14, 2, 16), tmp_path, form)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_openais_archive_under_a_name_with_another_activation_is_refused(tiny_clip: str, tmp_path: Path) -> None:
    path = save_clip(open_clip.create_model(tiny_clip), tmp_path, "torchscript", 64)
    with pytest.raises(WeightsError, match="trained with QuickGELU, and test-tiny has another activation: name the"):
        build_teacher(TeacherParams(model="test-tiny", weights_file=str(path)), GRID)


def test_clip_features_of_a_named_block_come_before_the_norm(tiny_clip: str) -> None:
    params = TeacherParams(model=tiny_clip, pretrained="random", layer="transformer.resblocks.0")
    assert build_teacher(params, GRID)(some_frames()).shape == (2, 32, 128)
    with pytest.raises(WeightsError, match=r"no layer 'resblocks.1', it has: .*Did you mean"):
        build_teacher(params.model_copy(update={"layer": "resblocks.1"}), GRID)


@pytest.mark.parametrize(
    ("model", "layer", "width", "native"),
    [
        ("convnext_atto", None, 320, None),
        ("convnext_atto", "stages.1", 80, None),
        ("efficientnet_lite0", "blocks.2", 40, None),
        ("resnet18", "layer3", 256, None),
        ("vit_tiny_patch16_224", None, 192, 224),
        ("vit_tiny_patch16_224", "blocks.3", 192, 224),
    ],
)
def test_any_timm_model_gives_features_on_the_students_grid(
    model: str, layer: str | None, width: int, native: int | None
) -> None:
    params = TeacherParams(library="timm", model=model, layer=layer, pretrained="random")
    teacher = build_teacher(params, GRID)
    assert teacher.image_size == (native or 64,) * 2
    assert teacher(some_frames(clips=1)).shape == (1, 32, width)


def test_a_transformer_with_registers_sees_frames_of_the_size_asked_for() -> None:
    name = "vit_small_patch14_reg4_dinov2"
    teacher = build_teacher(TeacherParams(library="timm", model=name, pretrained="random", image_size=112), GRID)
    assert teacher.image_size == (112, 112)
    assert teacher(some_frames(clips=1)).shape == (1, 32, 384)


def test_the_last_layer_of_a_vit_is_its_patch_tokens_after_the_norm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    params = TeacherParams(library="timm", model="vit_tiny_patch16_224", weights_file="vit.safetensors")
    grid = TokenGrid(1, 14, 14, 2, 16)
    teacher, frames = build_teacher(params, grid, folder=tmp_path), some_frames(grid, clips=1)
    images = (frames[:, 0].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        torch.testing.assert_close(teacher(frames), model.forward_features(images)[:, 1:], atol=1e-5, rtol=1e-4)


def test_timm_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_file({"what.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    params = TeacherParams(library="timm", model="resnet18", weights_file="other.safetensors")
    with pytest.raises(WeightsError, match=r"other.safetensors \(for ResNet\) does not fit the model: 100 missing"):
        build_teacher(params, GRID, folder=tmp_path)


def test_efficientnet_lite0_knows_a_cup_of_coffee() -> None:
    from skimage import data

    teacher = build_teacher(TeacherParams(library="efficientnet_lite0"), GRID)
    model: Any = teacher.backbone.get_submodule("model")
    image = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None, :, :, 100:500].float() / 255
    image = nn.functional.interpolate(image, (224, 224), mode="bicubic", antialias=True)
    with torch.no_grad():
        scores = model((image - teacher.mean) / teacher.std).softmax(dim=1)[0]
    assert int(scores.argmax()) == 967  # espresso
    assert float(scores.max()) > 0.8


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights_file .*none.pt does not exist; nothing was downloaded: copy"):
        build_teacher(TeacherParams(weights_file="none.pt"), GRID, folder=tmp_path)


def test_weights_that_cannot_be_downloaded_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smile_synth.teachers.downloads._is_reachable", lambda url: False)
    params = TeacherParams(library="timm", model="vit_tiny_patch16_224", pretrained="augreg_in21k")
    with pytest.raises(WeightsError, match=r"on this machine, and nothing was downloaded: fetch them .*weights_file"):
        build_teacher(params, GRID)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (TeacherParams(model="ViT-B-61"), "open_clip has no model 'ViT-B-61'. Did you mean 'ViT-B-16'?"),
        (TeacherParams(library="timm", model="resnet81"), "timm has no model 'resnet81'. Did you mean 'resnet18'?"),
        (TeacherParams(model="ViT-B-16", pretrained="opena"), "open_clip has no weights 'opena' for ViT-B-16: set"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(params: TeacherParams, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        build_teacher(params, GRID)
    assert message in str(caught.value)


def test_classifiers_and_absent_counters_in_a_timm_file_do_not_matter(tmp_path: Path) -> None:
    weights = timm.create_model("resnet18").state_dict()
    kept = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    save_file(kept, tmp_path / "resnet.safetensors")
    params = TeacherParams(library="timm", model="resnet18", weights_file="resnet.safetensors")
    teacher = build_teacher(params, GRID, folder=tmp_path)
    assert torch.equal(teacher.backbone.get_parameter("model.conv1.weight"), weights["conv1.weight"])


def test_a_model_of_one_size_refuses_another() -> None:
    params = TeacherParams(library="timm", model="mixer_s32_224", pretrained="random", image_size=64)
    with pytest.raises(WeightsError, match="MlpMixer takes frames of one size only"):
        build_teacher(params, GRID)
