"""The page stands on its own, and every figure has its sentence and its units."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
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
from smile_synth.report.page.gallery import GALLERY_CLIPS, choose_gallery
from smile_synth.report.page.output import write_report
from smile_synth.report.page.page import MAX_NBYTES, PagePictures, build_page
from smile_synth.report.page.pictures import film
from smile_synth.report.page.plots import histogram_plot
from smile_synth.report.page.sentences import number
from smile_synth.store import Store, render_store

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
        found = re.search(r'<div class="motion">\s*<img src="data:image/webp;base64,([^"]+)"', files.page.read_text())
        assert (found is not None) == is_shown
        if found is not None:
            sheet = Image.open(io.BytesIO(base64.b64decode(found[1])))
            # 3 clips of 4 frames enlarged 4 times, each above its motion.
            assert sheet.size == (4 * (128 + 2) + 2, 3 * (12 + 128 + 1 + 128 + 2) + 2)
            assert "Colour wheel" in files.page.read_text()


def test_json_beside_the_page_is_the_report(written):
    files, report = written
    assert Report.model_validate_json(files.content.read_bytes()) == report


def bars_of(page, title):
    """Return name and clips of every bar of a plot that can be clicked on."""
    start = page.index(f"<h3>{title}</h3>")
    plate = page[start : page.index("</figure>", start)]
    found = re.findall(r'class="bar" role="button" aria-label="([^"]+)" data-clips="([\d ]+)"', plate)
    return [(name, [int(clip) for clip in clips.split()]) for name, clips in found]


def test_bars_name_clips_that_have_their_values(written):
    files, report = written
    store = Store.open(files.page.parent.parent / "tiny-7.zarr")
    page, speeds = files.page.read_text(), store.column("labels/speed")
    bars = bars_of(page, "Label: speed")
    assert len(bars) > 20
    for name, clips in bars:
        low, high = (float(text) for text in re.findall(r"[\d.]+(?:e−\d+)?", name.replace("e−", "e-"))[:2])
        for clip in clips:
            assert ((speeds[clip] > low - 0.01) & (speeds[clip] < high + 0.01)).any(), (name, clip)
    (half,) = report.labels
    assert bars_of(page, "Label: half") == [(entry.name, entry.clips) for entry in half.counts]


def test_page_carries_a_clip_for_nearly_every_bar(written):
    files, report = written
    page = files.page.read_text()
    gallery = json.loads(re.search(r'id="gallery">(.+?)</script>', page)[1])
    carried = {int(clip) for clip in gallery} | {int(clip) for clip in re.findall(r'"player" data-clip="(\d+)"', page)}
    assert set(report.contact_sheet) <= carried
    bars = [bar for title in ("Speed", "Label: speed", "Contrast", "Label: half") for bar in bars_of(page, title)]
    assert len(bars) > 60
    assert all(carried.intersection(clips) for _, clips in bars)
    for carried_film in gallery.values():
        strip = Image.open(io.BytesIO(base64.b64decode(carried_film["source"].partition(",")[2])))
        assert strip.width == strip.height * carried_film["frames"] == 96 * 4


def test_gallery_is_bounded_and_serves_as_many_bars_as_it_can(written):
    report = written[1]
    few = choose_gallery(report.model_copy(update={"contact_sheet": []}), [], most=5)
    assert len(few) == 5
    assert len(choose_gallery(report, [])) <= GALLERY_CLIPS
    assert not set(choose_gallery(report, [1, 2, 3])) & {1, 2, 3}


def test_assets_are_pictures(written):
    page = written[0].page.read_text()
    assets = page[page.index('<section id="assets">') :]
    found = re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="(\w+)">', assets)
    assert [name for _, name in found] == ["noise", "confetti"]
    background, thing = (Image.open(io.BytesIO(base64.b64decode(data))) for data, _ in found)
    assert background.size == (96, 96)
    assert max(thing.size) < 96 + 1


def test_missing_values_are_counted_and_undefined_labels_are_not_plotted(written):
    report = written[1]
    (half,) = report.labels
    never = half.model_copy(
        update={"counts": [c.model_copy(update={"count": 0}) for c in half.counts], "undefined": 70}
    )
    page = build_page(report.model_copy(update={"labels": [never]}), PagePictures([], [], [], []))
    assert re.search(r"<td>half</td><td>clips</td><td>0</td><td>70</td><td>undefined throughout</td>", page)
    assert "<h3>Label: half</h3>" not in page
    assert "<h3>Label: speed</h3>" in page


def test_correlations_are_a_plot_and_a_sentence(outline):
    caption = next(p["caption"] for p in outline.plates if "How closely labels go together" in p["caption"])
    assert re.search(r"half and speed|speed and half", caption)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize(
    ("click", "expected"),
    [
        (
            'document.querySelector(".plate .bar").dispatchEvent(new MouseEvent("click", {bubbles: true}))',
            'class="shown"',
        ),
        ('document.querySelector(".sheet [data-clip]").click()', '<dialog id="clip" open'),
        ('document.querySelector(".player").click()', '<dialog id="clip" open'),
    ],
)
def test_clicks_show_clips(written, tmp_path, click, expected):
    page = written[0].page.read_text()
    (tmp_path / "page.html").write_text(page.replace("</body>", f"<script>{click}</script></body>"))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    shown = subprocess.run(
        [*command, "--dump-dom", f"file://{tmp_path / 'page.html'}"], capture_output=True, text=True, check=True
    ).stdout
    assert expected in shown
    assert expected not in page


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
