"""Cards: front matter that the Hub reads, and Croissant that its validator accepts."""

from __future__ import annotations

import json
import logging

import pytest
import yaml
from report_samples import tiny_report, tiny_store

from smile_synth.assets import AssetRow
from smile_synth.errors import ReportError
from smile_synth.report.card.card import CardParams, build_card, card_name, read_report
from smile_synth.report.card.croissant import croissant, plain_name
from smile_synth.report.card.licences import hub_licence, licence_address, licence_uses


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
