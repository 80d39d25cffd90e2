"""Features on disk: computed once, resumed after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from smile_synth.errors import ProbeError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.student import Encoder, StudentShape
from smile_synth.probe.extractors import DifferenceExtractor, NetworkExtractor, weights_digest
from smile_synth.probe.features import ClipFeatures, compute_features
from smile_synth.recipe.student import Transformer


class Clips:
    """Ten clips, each full of its own number."""

    name = "ten"

    def __init__(self, digest: str = "a") -> None:
        self.digest = digest

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        return np.arange(10)

    @property
    def scenes(self) -> None:
        return None

    def batches(self, first: int, batch_size: int) -> Iterator[npt.NDArray[np.uint8]]:
        for start in range(first, 10, batch_size):
            numbers = np.arange(start, min(start + batch_size, 10), dtype=np.uint8)
            yield np.broadcast_to(numbers[:, None, None, None, None], (len(numbers), 2, 4, 4, 3))


class Counting:
    """Gives each clip's number, and counts the clips that it saw."""

    has_tokens = True
    title = "numbers"

    def __init__(self, name: str = "counting", fails_after: int = 99) -> None:
        self.name, self.digest, self.seen, self.fails_after = name, f"of {name}", 0, fails_after

    def __call__(self, frames_BTHWC: npt.NDArray[np.uint8]) -> ClipFeatures:
        if self.seen + len(frames_BTHWC) > self.fails_after:
            raise KeyboardInterrupt
        self.seen += len(frames_BTHWC)
        numbers = torch.from_numpy(np.array(frames_BTHWC[:, 0, 0, 0, :1], np.float32))
        return ClipFeatures(numbers, numbers[:, None].repeat(1, 5, 2))


def compute(extractors: list[Counting], folder: Path, *, digest: str = "a", tokens: bool = False) -> None:
    tables = compute_features(extractors, Clips(digest), folder, batch_size=4, with_tokens=tokens)
    for table in tables.values():
        assert table.pooled[:, 0].tolist() == list(range(10))
        if tokens:
            assert table.tokens.shape == (10, 5, 2)
            assert table.tokens[7, 3, 1] == 7


@pytest.mark.parametrize("tokens", [False, True])
def test_features_are_computed_once(tmp_path: Path, tokens: bool) -> None:
    first, again = Counting(), Counting()
    compute([first], tmp_path, tokens=tokens)
    compute([again], tmp_path, tokens=tokens)
    assert (first.seen, again.seen) == (10, 0)


def test_an_interrupted_computation_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compute([Counting(fails_after=8)], tmp_path)
    rest = Counting()
    compute([rest], tmp_path)
    assert rest.seen == 2


def test_an_extractor_that_is_further_waits_for_the_others(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compute([Counting("one"), Counting("two", fails_after=4)], tmp_path)
    one, two = Counting("one"), Counting("two")
    compute([one, two], tmp_path)
    assert (one.seen, two.seen) == (2, 6)


def test_other_clips_or_other_weights_are_computed_anew(tmp_path: Path) -> None:
    compute([Counting()], tmp_path)
    other_clips, other_weights = Counting(), Counting("other")
    compute([other_clips], tmp_path, digest="b")
    compute([other_weights], tmp_path)
    assert (other_clips.seen, other_weights.seen) == (10, 10)


def test_a_damaged_table_is_computed_anew(tmp_path: Path) -> None:
    compute([Counting()], tmp_path)
    for file in tmp_path.rglob("pooled.npy"):
        file.write_bytes(b"nonsense")
    again = Counting()
    compute([again], tmp_path)
    assert again.seen == 10


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def of_another_type(file: Path) -> None:
    np.save(file, np.load(file).astype(np.float64))


def of_another_shape(file: Path) -> None:
    np.save(file, np.load(file).reshape(10, 1, -1))


def wider(file: Path) -> None:
    np.save(file, np.concatenate([np.load(file)] * 2, axis=-1))


def with_another_value(file: Path) -> None:
    values = np.load(file)
    values[7] += 1
    np.save(file, values)


@pytest.mark.parametrize("kind", ["pooled", "tokens"])
@pytest.mark.parametrize("change", [truncated, of_another_type, of_another_shape, wider, with_another_value])
def test_features_on_disk_that_are_not_what_was_written_are_computed_anew(
    tmp_path: Path, kind: str, change: Callable[[Path], None]
) -> None:
    compute([Counting()], tmp_path, tokens=True)
    (file,) = tmp_path.rglob(f"{kind}.npy")
    change(file)
    again = Counting()
    compute([again], tmp_path, tokens=True)
    assert again.seen == 10


@pytest.mark.parametrize("state", ["[]", "{}", '{"num_done": -1}', "[" * 100000, '{"num_done": "10", "checksums": 3}'])
def test_a_state_that_says_nothing_is_not_believed(tmp_path: Path, state: str) -> None:
    compute([Counting()], tmp_path)
    (file,) = tmp_path.rglob("state.json")
    file.write_text(state)
    again = Counting()
    compute([again], tmp_path)
    assert again.seen == 10


def test_features_that_do_not_fit_on_the_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=40))
    with pytest.raises(ProbeError, match=r"need 4e-08 GB, 4e-08 GB are free; .*lower probe\.train_clips"):
        compute([Counting()], tmp_path)


def test_differences_of_a_still_clip_are_zero_and_of_a_moving_one_are_where_it_moves() -> None:
    frames = np.zeros((2, 5, 14, 14, 3), np.uint8)
    frames[1, 3:, :2, :2] = 90
    pooled = DifferenceExtractor()(frames).pooled_BD.reshape(2, 4, 7, 7)
    assert pooled[0].count_nonzero() == 0
    assert pooled[1].count_nonzero() == 1
    assert pooled[1, 2, 0, 0] == 90


def test_differences_need_two_frames() -> None:
    with pytest.raises(ProbeError, match="at least 2 frames"):
        DifferenceExtractor()(np.zeros((1, 1, 14, 14, 3), np.uint8))


def test_a_digest_of_weights_changes_with_any_of_them() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    before = weights_digest(network)
    assert weights_digest(network) == before
    network[1].running_mean[2] += 1e-6
    assert weights_digest(network) != before


def test_tokens_of_a_network_without_pooling_are_averaged() -> None:
    class Teacher(torch.nn.Module):
        def forward(self, frames_BTHWC: torch.Tensor) -> torch.Tensor:
            return frames_BTHWC.float().flatten(1, 3)

    extractor = NetworkExtractor("teacher", "a teacher", Teacher(), torch.device("cpu"))
    frames = np.arange(24, dtype=np.uint8).reshape(1, 2, 2, 2, 3)
    features = extractor(frames)
    assert features.pooled_BD.tolist() == [[10.5, 11.5, 12.5]]
    assert features.tokens_BND is not None
    assert features.tokens_BND.shape == (1, 8, 3)


def test_equal_weights_at_other_positions_are_another_network() -> None:
    shape = StudentShape(Transformer(12, 1, 2), Transformer(12, 1, 2), 2.0, TokenGrid(2, 2, 2, 2, 16), 4)
    flat, separable = Encoder(shape), Encoder(replace(shape, positions="separable"))
    separable.load_state_dict(flat.state_dict())
    assert weights_digest(flat) != weights_digest(separable)
