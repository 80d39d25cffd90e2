from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smile_synth.downstream.mixing import Mixing
from smile_synth.downstream.rand_augment import RandAugment, apply
from smile_synth.downstream.reading import MakeRng, VariedClips
from smile_synth.downstream.source import ClipSource, batch_order
from smile_synth.errors import RecipeError, VideoError
from smile_synth.recipe.finetune import VaryParams
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.lists import LabelledVideos

VIDEOS = LabelledVideos(
    tuple(Path(f"{number}.mp4") for number in range(10)), np.arange(10, dtype=np.int64), tuple("abcdefghij")
)
BROKEN = {"3.mp4", "4.mp4"}


def read(file: Path, make_rng: MakeRng) -> np.ndarray:
    """Two clips whose pixels say which video they are of, and a number drawn for each."""
    draws = [int(make_rng(f"repeat {repeat}").integers(200)) for repeat in range(2)]
    return np.array([[[[[int(file.stem), draw, 0]]]] for draw in draws], np.uint8)


def read_all_but_two(file: Path, make_rng: MakeRng) -> np.ndarray:
    if file.name in BROKEN:
        raise VideoError(f"video {file} cannot be read")
    return read(file, make_rng)


def source(read: Any = read, **changes: Any) -> ClipSource:
    return ClipSource(VIDEOS, read, **{"repeats": 2, "batch_size": 4, "seed": 5, "threads": 2, **changes})


def take(source: ClipSource, count: int) -> list[Any]:
    with source:
        batches = iter(source)
        return [next(batches) for _ in range(count)]


def test_every_video_comes_once_an_epoch_with_its_label() -> None:
    batches = take(source(batch_size=5), 4)
    for epoch in (batches[:2], batches[2:]):
        videos = torch.cat([batch.frames_BTHWC[:, 0, 0, 0, 0] for batch in epoch]).tolist()
        assert sorted(videos) == sorted([*range(10), *range(10)])
        assert videos == torch.cat([batch.labels_B for batch in epoch]).tolist()
    assert batches[0].labels_B.tolist() != batches[2].labels_B.tolist(), "another order"


def test_neighbours_are_of_different_videos_and_repeats_differ() -> None:
    assert batch_order(4, 2) == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (3, 0), (2, 1), (3, 1)]
    batch = take(source(), 1)[0]
    videos, draws = batch.frames_BTHWC[:, 0, 0, 0, 0].tolist(), batch.frames_BTHWC[:, 0, 0, 0, 1].tolist()
    assert all(videos[place] != videos[place + 1] for place in range(0, 8, 2))
    assert len(set(draws)) > 5


def test_two_ranks_share_the_batch_of_one() -> None:
    whole = take(source(), 3)
    parts = [take(source(rank=rank, world_size=2, threads=1), 3) for rank in (0, 1)]
    for number, batch in enumerate(whole):
        both = [parts[rank][number] for rank in (0, 1)]
        assert torch.equal(torch.cat([part.frames_BTHWC for part in both]), batch.frames_BTHWC)
        assert [part.first for part in both] == [0, 4]
        assert all(part.position == batch.position for part in both)


@pytest.mark.parametrize("done", [1, 2, 3])
def test_resuming_after_any_batch_gives_the_same_clips(done: int) -> None:
    whole = take(source(), 5)
    resumed = source()
    resumed.load_position(whole[done - 1].position)
    for one, other in zip(take(resumed, 5 - done), whole[done:], strict=True):
        assert torch.equal(one.frames_BTHWC, other.frames_BTHWC)


def test_videos_are_not_listed_again_for_every_batch() -> None:
    class Files(tuple[Path, ...]):
        times = 0

        def __iter__(self) -> Any:
            type(self).times += 1
            return super().__iter__()

    videos = LabelledVideos(Files(VIDEOS.files), VIDEOS.labels, VIDEOS.classes)
    take(ClipSource(videos, read, repeats=2, batch_size=4, seed=5, threads=2), 4)
    assert Files.times == 1


def test_padded_epoch_begins_again_where_videos_run_out() -> None:
    batches = take(source(last="pad"), 4)
    assert batches[2].labels_B[-4:].tolist() == batches[0].labels_B[:4].tolist()
    assert batches[2].position["epoch"] == 1


def test_broken_videos_stop_or_give_their_place_to_the_next_one() -> None:
    with pytest.raises(VideoError, match=r"[34]\.mp4 cannot be read"):
        take(source(read_all_but_two), 3)
    skipping = source(read_all_but_two, on_error="skip", batch_size=5)
    batches = take(skipping, 2)
    labels = torch.cat([batch.labels_B for batch in batches]).tolist()
    assert not {3, 4} & set(labels)
    assert len(labels) == 20
    assert {file.name for file in skipping.skipped} == BROKEN


def test_rand_augment_draws_once_for_all_frames_and_alike_for_alike_generators() -> None:
    augment = RandAugment("rand-m9-n4-mstd0.5-inc1")
    frames = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3), dtype=np.uint8).repeat(3, axis=0)
    changed = [apply(augment.draw(np.random.default_rng(seed)), frames) for seed in range(12)]
    assert all((clip == clip[:1]).all() for clip in changed), "still frames stay alike"
    assert sum(bool((clip != frames).any()) for clip in changed) > 8
    again = [apply(augment.draw(np.random.default_rng(seed)), frames) for seed in range(12)]
    assert all(np.array_equal(one, other) for one, other in zip(changed, again, strict=True))


def test_rand_augment_of_another_notation_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"vary\.rand_augment must be in timm's notation"):
        RandAugment("stronger please")


def test_crop_and_flip_hold_for_the_whole_clip() -> None:
    vary = VaryParams(rand_augment=None, flip_probability=1.0, crop_area=None)
    clips = VariedClips(VideosParams(frames=2), vary, 8)
    frames = np.zeros((2, 8, 16, 3), np.uint8)
    frames[:, :, 4:8] = 200
    made = clips.vary(frames, np.random.default_rng(0))
    assert made.shape == (2, 8, 8, 3)
    assert (made[:, :, :4] == 0).all(), "the left half of the centre is now the right one"
    assert (made[:, :, 4:] == 200).all()


def frames_of(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8).mul(20)[:, None, None, None, None].expand(count, 2, 8, 8, 3)


def test_mixing_is_that_of_the_whole_batch_whatever_part_is_mixed() -> None:
    mixing = Mixing(VaryParams(erase_probability=1.0), 10, label_smoothing=0.1, seed=0, device=torch.device("cpu"))
    frames, labels = frames_of(8), torch.arange(8)
    video, targets = mixing(frames, labels, step=3, first=0)
    for first in (0, 4):
        part, part_targets = mixing(frames[first : first + 4], labels[first : first + 4], step=3, first=first)
        assert torch.equal(part, video[first : first + 4])
        assert torch.equal(part_targets, targets[first : first + 4])
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))
    other, _ = mixing(frames, labels, step=4, first=0)
    assert not torch.equal(other, video)


def test_targets_of_a_mixed_pair_share_the_labels_of_both() -> None:
    vary = VaryParams(erase_probability=0, cutmix=0)
    mixing = Mixing(vary, 10, label_smoothing=0.0, seed=0, device=torch.device("cpu"))
    video, targets = mixing(frames_of(2), torch.tensor([7, 2]), step=0, first=0)
    share = float(targets[0, 7])
    assert 0 < share < 1
    assert targets[0, 2] == pytest.approx(1 - share, abs=1e-6)
    assert targets[1, 2] == pytest.approx(share, abs=1e-6)
    plain, _ = Mixing(
        VaryParams(erase_probability=0, mixup=0, cutmix=0), 10, label_smoothing=0.0, seed=0, device=torch.device("cpu")
    )(frames_of(2), torch.tensor([7, 2]), step=0, first=0)
    torch.testing.assert_close(video[0], share * plain[0] + (1 - share) * plain[1])


def test_smoothed_targets_without_mixing() -> None:
    vary = VaryParams(erase_probability=0, mixup=0, cutmix=0)
    mixing = Mixing(vary, 4, label_smoothing=0.2, seed=0, device=torch.device("cpu"))
    _, targets = mixing(frames_of(1), torch.tensor([1]), step=0, first=0)
    # 0.2 spread over four classes: 0.05 each, and what is left, 0.8, on the right one.
    assert targets.tolist() == [pytest.approx([0.05, 0.85, 0.05, 0.05])]


def test_erased_rectangle_is_the_same_in_all_frames() -> None:
    vary = VaryParams(erase_probability=1.0, mixup=0, cutmix=0)
    mixing = Mixing(vary, 4, label_smoothing=0.0, seed=0, device=torch.device("cpu"))
    video, _ = mixing(torch.zeros(1, 3, 16, 16, 3, dtype=torch.uint8), torch.tensor([1]), step=0, first=0)
    plain = video[0, :, :, :1, :1] * 0 + video[0].flatten(1).median(dim=1).values[:, None, None, None]
    changed = (video[0] != plain).all(dim=0)
    assert 0 < changed[0].sum() < 256
    assert (changed == changed[:1]).all()
