"""Callbacks are told of steps, epochs and checkpoints, can stop a training, and change nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_training import assert_same_bits, run_tiny, tiny_recipe, tiny_store, weights

from smile_synth.store import Store
from smile_synth.training.callbacks import Callback, TrainingEvent
from smile_synth.training.checkpoint import read_checkpoint
from smile_synth.training.metrics import read_rows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("store"))


class Diary(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.losses: list[float] = []
        self.rows: list[Any] = []

    def on_step(self, event: TrainingEvent) -> None:
        self.told.append(("step", event.step))
        self.losses.append(event.loss)
        self.rows.append(event.metrics)

    def on_epoch(self, event: TrainingEvent) -> None:
        self.told.append((f"epoch {event.epoch:g} of {event.stage}", event.step))

    def on_checkpoint(self, event: TrainingEvent, path: Path) -> None:
        assert read_checkpoint(path)["step"] == event.step
        self.told.append(("checkpoint", event.step))


def test_steps_epochs_and_checkpoints_are_told_in_order(store: Store, tmp_path: Path) -> None:
    diary = Diary()
    run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=4, checkpoint={"every_steps": 2}), callbacks=[diary])
    assert diary.told == [
        ("step", 1),
        ("step", 2),
        ("checkpoint", 2),
        ("step", 3),
        ("epoch 1 of train", 3),
        ("step", 4),
        ("epoch 1.33333 of train", 4),
        ("checkpoint", 4),
    ]
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert diary.losses == pytest.approx([row["loss"] for row in rows])
    assert [row["step"] for row in diary.rows] == [1, 2, 3, 4]


def test_a_callback_changes_nothing(store: Store, tmp_path: Path) -> None:
    run_tiny(store, tmp_path / "plain", tiny_recipe())
    run_tiny(store, tmp_path / "told", tiny_recipe(), callbacks=[Diary()])
    assert_same_bits(weights(tmp_path / "plain"), weights(tmp_path / "told"))


def test_a_callback_stops_a_training_that_resumes(store: Store, tmp_path: Path) -> None:
    class Stop(Callback):
        def on_step(self, event: TrainingEvent) -> None:
            if event.step == 3:
                event.stop("the loss is low enough")

    diary = Diary()
    summary = run_tiny(store, tmp_path / "run", tiny_recipe(), callbacks=[Stop(), diary])
    assert (summary.steps, summary.reason) == (3, "the loss is low enough")
    assert diary.told[-1] == ("checkpoint", 3)
    assert run_tiny(store, tmp_path / "run", tiny_recipe(), resume=True).finished
    run_tiny(store, tmp_path / "whole", tiny_recipe())
    assert_same_bits(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_callback_sees_model_and_weights(store: Store, tmp_path: Path) -> None:
    class Look(Callback):
        def on_epoch(self, event: TrainingEvent) -> None:
            assert event.is_first
            assert event.folder == tmp_path / "run"
            assert event.gradient_norm > 0
            mine = {name: value.clone() for name, value in event.model.state_dict().items()}
            self.seen = event.weights()
            assert set(self.seen) <= set(mine)

    look = Look()
    run_tiny(store, tmp_path / "run", tiny_recipe(), callbacks=[look])
    assert_same_bits(look.seen, weights(tmp_path / "run"))


def test_what_a_callback_raises_ends_the_training(store: Store, tmp_path: Path) -> None:
    class Fail(Callback):
        def on_step(self, event: TrainingEvent) -> None:
            if event.step == 5:
                raise ZeroDivisionError("as it was told")

    with pytest.raises(ZeroDivisionError, match="as it was told"):
        run_tiny(store, tmp_path / "run", tiny_recipe(checkpoint={"every_steps": 2}), callbacks=[Fail()])
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] == 4
