"""Cards: front matter that the Hub reads, and Croissant that its validator accepts."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import ClassVar

import pytest
import yaml
from report_samples import tiny_report, tiny_store
from tiny import TinyDataset

from smile_synth.assets import AssetRow
from smile_synth.errors import ReportError
from smile_synth.generator.labels import LabelSpec
from smile_synth.report.card.card import CardParams, build_card, card_name, dataset_description, read_report
from smile_synth.report.card.croissant import croissant, plain_name
from smile_synth.report.card.foreign_text import json_text
from smile_synth.report.card.licences import hub_licence, licence_address, licence_uses
from smile_synth.store import Store, render_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("card"))


def front_matter(card):
    _, text, _ = card.split("---\n", 2)
    return yaml.safe_load(text)


def row(licence, kind="background", source="us"):
    return AssetRow(kind, "name", "", licence, source, "00")


def test_front_matter_says_what_the_hub_asks(store):
    values = front_matter(build_card(store, CardParams(), None))
    assert values["license"] == "other"
    assert values["size_categories"] == ["n<1K"]
    assert values["task_categories"] == ["video-classification"]


def test_front_matter_is_read_by_the_hub_library(store):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.DatasetCard(build_card(store, CardParams(name="My clips"), None))
    assert card.data.pretty_name == "My clips"
    assert card.data.license == "other"
    assert "# My-clips" in card.text


def test_card_holds_recipe_labels_licences_and_figures(store):
    card = build_card(store, CardParams(name="My clips"), tiny_report(store))
    assert "# My-clips" in card
    assert "| `labels/speed` | pixels a frame | object | px/frame |" in card
    assert "| [MIT](https://opensource.org/license/mit) | object | the tests | 1 |" in card
    assert "generator: tiny" in card
    assert "static-clips" in card


def test_labels_that_are_undefined_throughout_are_left_out(tmp_path, monkeypatch):
    dataset = TinyDataset(clips=4, size=32, frames=2)
    never = LabelSpec("never said", kind="class", classes=("a", "b"))
    dataset.label_specs = {**dataset.label_specs, "never": never}
    sample = dataset.generator.sample

    def without(*, rng):
        scene = sample(rng=rng)
        return dataclasses.replace(scene, labels={**scene.labels, "never": -1})

    monkeypatch.setattr(dataset.generator, "sample", without)
    store = render_store(dataset, tmp_path / "own.zarr", recipe=dataset.recipe(), workers=0)
    assert "never" in store.label_specs
    assert "labels/never" not in build_card(store, CardParams(), None)
    assert "labels/half" in build_card(store, CardParams(), None)
    document = croissant(store, name="x", description="y", url="", creator="")
    rows = next(table for table in document["recordSet"] if table["name"] == "labels")["data"]
    assert [row["labels/label"] for row in rows] == ["half", "speed"]


def test_croissant_is_accepted_by_its_validator(store, tmp_path, caplog):
    mlcroissant = pytest.importorskip("mlcroissant")
    document = croissant(store, name=card_name(store, CardParams()), description="Clips.", url="", creator="us")
    file = tmp_path / "croissant.json"
    file.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        metadata = mlcroissant.Dataset(str(file)).metadata
    assert metadata.name == "tiny-7"
    assert not metadata.ctx.issues.errors
    assert "@context" not in caplog.text
    arrays = list(mlcroissant.Dataset(str(file)).records("arrays"))
    assert arrays[0]["arrays/array"] == "frames"
    assert arrays[0]["arrays/shape"] == "70 x 4 x 32 x 32 x 3"


def test_digest_of_the_root_is_that_of_the_file(store):
    import hashlib

    document = croissant(store, name="x", description="", url="https://example.org", creator="")
    root = document["distribution"][0]
    assert root["sha256"] == hashlib.sha256((store.path / "zarr.json").read_bytes()).hexdigest()
    assert document["url"] == "https://example.org"


def test_one_known_licence_is_that_of_the_whole():
    assert hub_licence([row("CC0-1.0"), row("CC0-1.0", "object")]) == "cc0-1.0"
    assert hub_licence([row("CC0-1.0"), row("MIT")]) == "other"
    assert hub_licence([row("")]) == "other"
    assert hub_licence([]) == "apache-2.0"


def test_licences_are_counted_by_source():
    uses = licence_uses([row("MIT"), row("MIT"), row("", source="")])
    assert [(use.licence, use.source, use.count) for use in uses] == [("MIT", "us", 2), ("not stated", "not stated", 1)]


def test_addresses_of_licences():
    assert licence_address("CC-BY-SA-4.0") == "https://creativecommons.org/licenses/by-sa/4.0/"
    assert licence_address("public domain") == "public domain"


def test_report_of_another_store_is_refused(store, tmp_path):
    file = tmp_path / "report.json"
    file.write_text(tiny_report(tiny_store(tmp_path, clips=20)).model_dump_json())
    with pytest.raises(ReportError, match=r"is about tiny-7.zarr \(20 clips"):
        read_report(file, store)
    file.write_text("{}")
    with pytest.raises(ReportError, match="not a report of this version"):
        read_report(file, store)


def test_names_are_made_plain():
    assert plain_name("My clips (2)/x") == "My-clips-2-x"
    assert plain_name("…") == "dataset"


HOSTILE = "x`` ``` | <script>alert(1)</script> [me](https://evil.example) \x1b[2J\u202e\n---\n# Heading"


class HostileStore(Store):
    """A store whose every text somebody else chose."""

    assets = (
        AssetRow("background", "a", "", HOSTILE, HOSTILE, "00"),
        AssetRow("object", "b", "", "https://a.example)<b>", "/home/jane/photos/cats", "01"),
    )
    label_specs: ClassVar = {
        "speed": LabelSpec(HOSTILE),
        "half": LabelSpec("a half", kind="class", classes=(HOSTILE, "```")),
    }
    generators = ("/home/jane/mine.py:Mine", HOSTILE)
    recipe: ClassVar = {
        "generator": "/home/jane/own/mine.py:Mine",
        "assets": {"backgrounds": "/home/jane/Holiday Photos/sea", "objects": HOSTILE},
        "note": "from C:\\Users\\jane\\secret\\file.png and /home/jane/other/x.png, see https://example.org/a/b",
    }


def hostile_store(store):
    return HostileStore(store.path, store.manifest)


def rendered(card):
    """Return the card as HTML, by CommonMark with tables."""
    markdown_it = pytest.importorskip("markdown_it")
    return markdown_it.MarkdownIt("commonmark").enable("table").render(card.split("---\n", 2)[2])


def test_texts_of_others_make_no_markup(store):
    card = build_card(hostile_store(store), CardParams(name=HOSTILE, licence=HOSTILE), None)
    assert front_matter(card)["license"] == HOSTILE.replace("\n", " ")
    html = rendered(card)
    assert "<script" not in html
    assert "evil.example" not in "".join(part.split(">")[0] for part in html.split("<a ")[1:])
    assert html.count("<h1>") == 1
    assert html.count("<table>") == 3
    assert html.count("<pre>") == 2
    cells_of_rows = {row.count("<td>") for row in html.split("<tr>")[1:] if "<td>" in row}
    assert cells_of_rows == {2, 4}
    assert "\x1b" not in card
    assert "\u202e" not in card


def test_nothing_published_names_a_folder_of_this_machine(store):
    opened = hostile_store(store)
    document = croissant(
        opened, name="x", description=dataset_description(opened), url="https://example.org/a/b", creator="us"
    )
    card, twin = build_card(opened, CardParams(), None), json_text(document)
    for text in (card, twin):
        assert "jane" not in text
    assert "backgrounds: sea" in card
    assert "generator: mine.py:Mine" in card
    assert "file.png and x.png, see https://example.org/a/b" in card
    assert json.loads(twin)["url"] == "https://example.org/a/b"
    assert "\u202e" not in twin
