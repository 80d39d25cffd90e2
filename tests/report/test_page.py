"""The page stands on its own, and every figure has its sentence and its units."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from report_samples import tiny_store
from tiny import TinyDataset

from smile_synth.errors import ReportError
from smile_synth.recipe.dataset import MotionParams
from smile_synth.recipe.pretrain import MaskParams, PretrainParams
from smile_synth.report.measure.content import Report
from smile_synth.report.measure.feature_statistics import build_model, parse_model
from smile_synth.report.measure.survey import SurveyParams, survey
from smile_synth.report.measure.training_plan import TrainingPlan
from smile_synth.report.measure.values import QuantitySpec, Values
from smile_synth.report.page import output
from smile_synth.report.page.files import report_files
from smile_synth.report.page.output import write_report
from smile_synth.report.page.page import MAX_NBYTES
from smile_synth.report.page.pictures import film
from smile_synth.report.page.plots import histogram_plot
from smile_synth.report.page.sentences import number
from smile_synth.store import render_store

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Outline(HTMLParser):
    """Collects ids, addresses and figures, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.plates: list[dict[str, str]] = []
        self.in_plate = False

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[key] or "" for key in ("src", "href", "xlink:href") if key in values]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "figure":
            self.in_plate = values.get("class") == "plate"
            self.plates += [{"svg": "", "caption": ""}] if self.in_plate else []

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.in_plate and "figcaption" in self.open:
            self.plates[-1]["caption"] += data
        elif self.in_plate and "svg" in self.open:
            self.plates[-1]["svg"] += data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    store = tiny_store(folder)
    plan = TrainingPlan("mine", PretrainParams(epochs=2, mask=MaskParams(kind="tube")))
    model = build_model(parse_model("efficientnet_lite0"), height=32, width=32)
    report = survey(store, SurveyParams(model=model, training=plan)).report
    files = report_files(folder / "out")
    write_report(store, report, files, plan)
    return files, report


@pytest.fixture(scope="module")
def outline(written):
    parser = Outline()
    parser.feed(written[0].page.read_text())
    assert parser.open == []
    return parser


def test_page_needs_nothing_but_itself(outline):
    assert outline.addresses
    assert [a for a in outline.addresses if not a.startswith(("data:", "#"))] == []


def test_ids_are_unique(outline):
    assert len(outline.ids) == len(set(outline.ids))


def test_every_link_inside_the_page_leads_somewhere(outline):
    assert {a[1:] for a in outline.addresses if a.startswith("#")} <= set(outline.ids)


def test_every_figure_has_a_sentence_and_a_unit_on_its_axes(outline):
    assert len(outline.plates) > 15
    for plate in outline.plates:
        assert plate["caption"].strip().endswith("."), plate
        assert re.search(r"\(.+\)|%", plate["svg"]), plate


def test_page_takes_its_colours_from_its_theme(written):
    page = written[0].page.read_text()
    plots = page[page.index('class="plates"') :]
    assert "currentColor" in plots
    assert "fill: #000" not in plots


def test_page_shows_motion_where_the_store_has_it(tmp_path):
    for motion, is_shown in ((MotionParams(), True), (None, False)):
        dataset = TinyDataset(clips=8, size=32, frames=4, motion=motion)
        store = render_store(dataset, tmp_path / str(is_shown), recipe=dataset.recipe())
        files = report_files(tmp_path / f"out-{is_shown}")
        write_report(store, survey(store, SurveyParams()).report, files, None)
        found = re.search(r'<img class="motion" src="data:image/webp;base64,([^"]+)"', files.page.read_text())
        assert (found is not None) == is_shown
        if found is not None:
            sheet = Image.open(io.BytesIO(base64.b64decode(found[1])))
            # 3 clips of 4 frames enlarged 4 times, each above its motion; the wheel below needs its width.
            assert sheet.size == (4 * (128 + 2) + 2, 3 * (12 + 128 + 1 + 128 + 2) + 2 + 48 + 4)


def test_json_beside_the_page_is_the_report(written):
    files, report = written
    assert Report.model_validate_json(files.content.read_bytes()) == report


def test_feature_model_is_named_beside_its_figures(written, outline):
    caption = next(p["caption"] for p in outline.plates if "feature channel" in p["caption"])
    assert "tf_efficientnet_lite0" in caption
    assert written[1].features.frames == 70


def test_page_that_would_be_too_large_gets_smaller_pictures(monkeypatch):
    sides = []

    def build(side_px):
        sides.append(side_px)
        return "x" * (MAX_NBYTES + 1 if side_px > 100 else 10)

    assert output._small_page(build) == "x" * 10
    assert sides == [192, 128, 96]


def test_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="give another place with --out"):
        report_files(tmp_path / "file" / "report.html")
    (tmp_path / "r.html").mkdir()
    with pytest.raises(ReportError, match="it is a folder"):
        report_files(tmp_path / "r.html")
    with pytest.raises(ReportError, match=r"a page that ends in \.html or \.htm, got .*notes\.txt"):
        report_files(tmp_path / "notes.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "r.html"]


def test_film_follows_the_middle_of_the_box_and_skips_absent_frames():
    boxes = np.full((2, 3, 4), np.nan, np.float32)
    boxes[0, 0], boxes[0, 2] = (0, 0, 4, 2), (2, 2, 6, 4)
    strip = film(5, np.zeros((3, 8, 12, 3), np.uint8), boxes, caption="", max_side_px=99)
    assert (strip.width, strip.height, strip.frames) == (12, 8, 3)
    assert strip.boxes == [[[0, 0, 4, 2], None, [2, 2, 4, 2]]]
    assert strip.paths == ["2.0,1.0 4.0,3.0"]


def test_quantity_without_values_is_still_drawn():
    svg = histogram_plot([("this", Values(QuantitySpec("x", "Speed", "px", "object", "How.")).summary())])
    assert svg.startswith("<svg")
    assert "speed (px)" in svg


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.4, "1\u202f234"), (0.12345, "0.123"), (-3, "−3"), (1e-5, "1.00e−05"), (99.96, "100")],
)
def test_numbers_read_well(value, text):
    assert number(value) == text
