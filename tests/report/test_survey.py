"""A survey of a store says what is in the store, whatever the batches."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from report_samples import tiny_report, tiny_store

from smile_synth.errors import DamagedStoreError
from smile_synth.report.measure import sample
from smile_synth.report.measure.content import Report, quantities
from smile_synth.report.measure.sample import choose_clips, read_batches
from smile_synth.store.layout import shard_file


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="module")
def report(store):
    return tiny_report(store)


def test_measured_speed_is_the_speed_that_the_generator_wrote(report):
    table = quantities(report)
    assert table["speed"].unit == table["label_speed"].unit == "px/frame"
    assert table["label_speed"].count > 30
    assert table["speed"].median == pytest.approx(table["label_speed"].median, abs=0.2)
    assert table["acceleration"].maximum < 1e-4


def test_counts_are_those_of_the_store(store, report):
    assert report.overview.clips == report.overview.sampled_clips == 70
    objects = int((store.column("object") >= 0).sum())
    (background, thing) = report.assets
    assert (background.draws, background.used, background.available) == (70, 1, 1)
    assert (thing.draws, thing.kind, thing.classes.counts[0].name) == (objects, "object", "paper")
    (half,) = report.labels
    assert [entry.count for entry in half.counts] == np.bincount(store.column("labels/half")).tolist()
    without_objects = int((store.column("object") < 0).all(1).sum())
    assert report.appearance.still_clips >= without_objects > 0


def test_examples_of_speed_are_clips_with_that_speed(store, report):
    speeds = store.column("labels/speed")
    examples = quantities(report)["label_speed"].examples
    assert len({clip for clip, _ in examples}) > 10
    for clip, value in examples:
        assert np.isclose(speeds[clip], value).any()
    (half,) = report.labels
    for number, entry in enumerate(half.counts):
        assert len(entry.clips) == 3
        assert (store.column("labels/half")[entry.clips] == number).all()


def test_assets_are_shown_where_most_of_them_is_seen(store, report):
    (background, thing) = report.assets
    assert background.most_used[0].view.box is None
    view, boxes = thing.most_used[0].view, store.column("boxes")
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    shown = np.subtract(view.box[2:], view.box[:2]).prod()
    assert shown == pytest.approx(np.nanmax(area), rel=1e-5)
    assert any(np.allclose(box, view.box) for box in boxes[view.clip, :, view.frame])


def test_labels_are_correlated_pair_by_pair(report):
    (pair,) = report.label_correlations
    assert {pair.first, pair.second} == {"half", "speed"}
    assert (pair.kind, pair.count) == ("correlation_ratio", quantities(report)["label_speed"].count)


def test_objects_all_go_right(report):
    assert {entry.name for entry in report.motion.direction.counts if entry.count} == {"right"}


def test_extremes_come_in_order(report):
    extremes = {extreme.name: extreme for extreme in report.extremes}
    fastest = [example.value for example in extremes["fastest"].examples]
    slowest = [example.value for example in extremes["slowest"].examples]
    assert fastest == sorted(fastest, reverse=True)
    assert slowest == sorted(slowest)
    assert fastest[0] == pytest.approx(quantities(report)["label_speed"].maximum, abs=1e-3)


def test_report_does_not_depend_on_batches(store, report, monkeypatch):
    monkeypatch.setattr(sample, "MAX_BATCH_CLIPS", 7)
    other = tiny_report(store)
    for name, quantity in quantities(report).items():
        assert quantities(other)[name].quantiles == pytest.approx(quantity.quantiles), name
    assert other.extremes == report.extremes
    assert other.contact_sheet == report.contact_sheet
    assert [finding.code for finding in other.verdict] == [finding.code for finding in report.verdict]


def test_same_seed_chooses_the_same_clips_and_another_does_not(store):
    first, again, other = (tiny_report(store, clips=20, seed=seed).contact_sheet for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(set(first)) == 20


def test_choice_of_clips_is_rising_and_without_repetition():
    clips = choose_clips(1000, 100, seed=3)
    assert len(np.unique(clips)) == 100
    assert (np.diff(clips) > 0).all()
    assert choose_clips(5, None, seed=3).tolist() == choose_clips(5, 9, seed=3).tolist() == [0, 1, 2, 3, 4]


def test_batches_stay_small(store, monkeypatch):
    monkeypatch.setattr(sample, "BATCH_NBYTES", 5 * store.layout.array("frames").item_nbytes)
    sizes = [len(batch.clips_B) for batch in read_batches(store, np.arange(12))]
    assert sizes == [5, 5, 2]


def test_json_is_what_its_schema_says(report):
    document = json.loads(report.model_dump_json())
    schema = Report.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert Report.model_validate(document) == report


def test_every_field_of_the_json_is_described():
    schema = Report.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    bare = [
        f"{section['title']}.{name}"
        for section in sections
        for name, field in section.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert [name for name in bare if not name.endswith((".extremes", ".assets"))] == []


def test_damaged_chunk_is_named(tmp_path):
    store = tiny_store(tmp_path, clips=20)
    shard = store.path / shard_file(store.layout.array("frames"), 1)
    data = bytearray(shard.read_bytes())
    data[10] ^= 0xFF
    shard.write_bytes(bytes(data))
    with pytest.raises(DamagedStoreError, match="shard 1, clip 16"):
        tiny_report(store)
