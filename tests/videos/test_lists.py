"""Lists of labelled videos, in every layout, as their authors write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smile_synth.errors import RecipeError, VideoListError
from smile_synth.recipe.recipe import load_recipe
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.lists import LabelledVideos, find_layout, parts_there, read_videos, usable


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"video")


def write(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def videos(**values: object) -> VideosParams:
    return VideosParams.model_validate(values)


def read(folder: Path, part: str, **values: object) -> list[tuple[str, str]]:
    """Return (file relative to the folder, class) of every video of a part."""
    found = read_videos(videos(**values), part, folder)  # type: ignore[arg-type]
    return [
        (file.relative_to(folder).as_posix(), found.classes[label])
        for file, label in zip(found.files, found.labels, strict=True)
    ]


def test_class_folders_with_parts(tmp_path: Path) -> None:
    touch(tmp_path, "train/run/b.mp4", "train/run/a.AVI", "train/jump/c.webm", "val/run/d.mp4", "val/swim/e.mp4")
    touch(tmp_path, "train/run/notes.txt", "train/run/._a.mp4", "val/loose.mp4")
    params = videos()
    assert find_layout(params, tmp_path) == "folders"
    assert parts_there(params, tmp_path) == ("train", "validation")
    assert read(tmp_path, "train") == [
        ("train/jump/c.webm", "jump"),
        ("train/run/a.AVI", "run"),
        ("train/run/b.mp4", "run"),
    ]
    # Without a test part, the validation part is what is reported.
    assert (
        read(tmp_path, "test") == read(tmp_path, "validation") == [("val/run/d.mp4", "run"), ("val/swim/e.mp4", "swim")]
    )
    assert read_videos(params, "train", tmp_path).classes == ("jump", "run", "swim"), "the classes of all parts"


def test_one_class_folder_for_all_is_shared_out_by_name(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{n}.mp4" for label in ("run", "jump") for n in range(10)))
    assert len(read(tmp_path, "train")) == 20
    with pytest.raises(VideoListError, match=r"no validation part; put its videos into .*val, or hold some out"):
        read(tmp_path, "validation")
    train = read(tmp_path, "train", validation_share=0.2)
    held_out = read(tmp_path, "validation", validation_share=0.2)
    assert len(held_out) == 4
    assert sum(label == "run" for _, label in held_out) == 2
    assert sorted(train + held_out) == sorted(read(tmp_path, "train"))
    assert read(tmp_path, "test", validation_share=0.2) == held_out


def test_numbered_class_folders_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    touch(tmp_path, "train/10/a.mp4", "train/9/b.mp4")
    assert read_videos(videos(), "train", tmp_path).classes == ("9", "10")


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    touch(tmp_path, "train/run/a.mp4")
    (tmp_path / "train/run/loop").symlink_to(tmp_path / "train")
    assert read(tmp_path, "train") == [("train/run/a.mp4", "run")]


def test_lists_of_path_and_label(tmp_path: Path) -> None:
    write(tmp_path, {"train.csv": "clips/a b.mp4 2\n\nclips/c.mp4 0\r\n", "val.csv": "\ufeffclips/d.mp4,1\n"})
    assert find_layout(videos(), tmp_path) == "list"
    assert read(tmp_path, "train") == [("clips/a b.mp4", "2"), ("clips/c.mp4", "0")]
    assert read(tmp_path, "test") == [("clips/d.mp4", "1")]
    assert read_videos(videos(), "train", tmp_path).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a b, c.mp4 jump", ("a b, c.mp4", "jump")),
        ("a, b.mp4,long jump", ("a, b.mp4", "long jump")),
        ('"a, ""b"".mp4",jump', ('a, "b".mp4', "jump")),
        ("a b.mp4\tlong jump", ("a b.mp4", "long jump")),
        ("a.mp4, 3", ("a.mp4", "3")),
    ],
)
def test_a_path_or_a_label_may_hold_spaces_and_commas(tmp_path: Path, line: str, expected: tuple[str, str]) -> None:
    write(tmp_path, {"train.txt": f"{line}\n"})
    assert read(tmp_path, "train") == [expected]


def test_lists_of_other_names_below_a_root_with_names_of_classes(tmp_path: Path) -> None:
    write(tmp_path, {"mine/fit.txt": "a.mp4 1\n", "mine/rate.txt": "b.mp4 0\n", "names.txt": "jump\nrun fast\nswim\n"})
    values = {"train": "mine/fit.txt", "test": "mine/rate.txt", "root": "films", "class_names": "names.txt"}
    assert read(tmp_path, "train", **values) == [("films/a.mp4", "run fast")]
    assert read(tmp_path, "test", **values) == [("films/b.mp4", "jump")]
    assert read_videos(videos(**values), "train", tmp_path).classes == ("jump", "run fast", "swim")
    assert parts_there(videos(**values), tmp_path) == ("train", "test")


def ucf101(folder: Path) -> None:
    write(
        folder,
        {
            "ucfTrainTestlist/classInd.txt": "1 ApplyEyeMakeup\n2 HandstandPushups\n",
            "ucfTrainTestlist/trainlist01.txt": "HandstandPushups/v_HandStandPushups_g01_c01.avi 2\r\n"
            "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\n",
            "ucfTrainTestlist/testlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\n",
            "ucfTrainTestlist/trainlist02.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 1\n",
        },
    )
    touch(folder, "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "UCF-101/v_HandStandPushups_g01_c01.mp4")


def test_ucf101_as_it_is_downloaded(tmp_path: Path) -> None:
    ucf101(tmp_path)
    assert find_layout(videos(), tmp_path) == "ucf101"
    assert read(tmp_path, "train") == [
        # Found by name, whatever folder and suffix it has got.
        ("UCF-101/v_HandStandPushups_g01_c01.mp4", "HandstandPushups"),
        ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "ApplyEyeMakeup"),
    ]
    missing = ("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup")
    assert read(tmp_path, "test") == read(tmp_path, "validation") == [missing]
    assert read(tmp_path, "train", split=2) == [missing]
    assert read_videos(videos(), "train", tmp_path).labels.tolist() == [1, 0], "counted from 0, in classInd's order"
    with pytest.raises(VideoListError, match=r"has no trainlist03\.txt, as UCF101 has it"):
        read(tmp_path, "train", split=3)


def test_hmdb51_as_it_is_downloaded(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "testTrainMulti_7030_splits/brush_hair_test_split1.txt": "same_0.avi 1 \nb_1.avi 2 \nc_2.avi 0 \n",
            "testTrainMulti_7030_splits/cartwheel_test_split1.txt": "same_0.avi 2 \ne#1_1.avi 1 \n",
        },
    )
    # One name in two classes, as HMDB51 has them: the folder tells.
    touch(
        tmp_path,
        "hmdb51_org/cartwheel/same_0.avi",
        "hmdb51_org/brush_hair/same_0.avi",
        "hmdb51_org/cartwheel/e#1_1.avi",
    )
    assert find_layout(videos(), tmp_path) == "hmdb51"
    assert read(tmp_path, "train") == [
        ("hmdb51_org/brush_hair/same_0.avi", "brush_hair"),
        ("hmdb51_org/cartwheel/e#1_1.avi", "cartwheel"),
    ]
    assert read(tmp_path, "test") == [
        ("brush_hair/b_1.avi", "brush_hair"),
        ("hmdb51_org/cartwheel/same_0.avi", "cartwheel"),
    ]


def test_hmdb51_s_classes_are_in_order_of_their_names(tmp_path: Path) -> None:
    """As files, kick_ball_test_split1.txt comes before kick_test_split1.txt."""
    write(tmp_path, {f"{name}_test_split1.txt": f"{name}.avi 1\n" for name in ("kick", "kick_ball")})
    assert read_videos(videos(), "train", tmp_path).classes == ("kick", "kick_ball")


@pytest.mark.parametrize("old", ["", "something-something-v2-"])
def test_something_v2_as_it_is_downloaded(tmp_path: Path, old: str) -> None:
    labels = {"Holding something next to something": "1", "Closing something": "0"}
    train = [{"id": "78687", "label": "holding potato", "template": "Holding [something] next to [something]"}]
    validation = [{"id": "7", "label": "closing box", "template": "Closing [something]", "placeholders": ["box"]}]
    write(
        tmp_path,
        {
            f"labels/{old}labels.json": json.dumps(labels),
            f"labels/{old}train.json": json.dumps(train),
            f"labels/{old}validation.json": json.dumps(validation),
        },
    )
    touch(tmp_path, "20bn-something-something-v2/78687.webm")
    assert find_layout(videos(), tmp_path) == "ssv2"
    assert read(tmp_path, "train") == [
        ("20bn-something-something-v2/78687.webm", "Holding something next to something")
    ]
    assert read(tmp_path, "test") == [("7.webm", "Closing something")]
    assert read_videos(videos(), "train", tmp_path).classes == (
        "Closing something",
        "Holding something next to something",
    )


def test_kinetics_as_it_is_downloaded(tmp_path: Path) -> None:
    head = "label,youtube_id,time_start,time_end,split\n"
    write(
        tmp_path,
        {
            "annotations/train.csv": f'{head}"playing, well",-AbC_d12345,7,17,train\ntesting,same,0,10,train\n',
            "annotations/val.csv": f"{head}testing,same,0,10,val\n",
            "annotations/test.csv": "youtube_id,time_start,time_end,split\nxyz,1,11,test\n",
        },
    )
    touch(tmp_path, "train/-AbC_d12345_000007_000017.mp4", "train/same_000000_000010.mp4")
    touch(tmp_path, "val/testing/same_000000_000010.mkv")
    assert find_layout(videos(), tmp_path) == "kinetics"
    assert parts_there(videos(), tmp_path) == ("train", "validation"), "the test part has no labels"
    assert read(tmp_path, "train") == [
        ("train/-AbC_d12345_000007_000017.mp4", "playing, well"),
        ("train/same_000000_000010.mp4", "testing"),
    ]
    assert read(tmp_path, "test") == [("val/testing/same_000000_000010.mkv", "testing")]


@pytest.mark.parametrize(
    ("texts", "values", "message"),
    [
        ({}, {}, r"holds no videos in a layout that is known; wanted: class folders"),
        ({}, {"layout": "ucf101"}, r"has no classInd\.txt, as UCF101 has it"),
        ({}, {"layout": "hmdb51"}, r"no files CLASS_test_split1\.txt"),
        ({}, {"layout": "ssv2"}, r"has no labels\.json or"),
        ({}, {"layout": "kinetics"}, r"no list of Kinetics' train part; wanted train\.csv"),
        ({}, {"layout": "list"}, r"no list of the train part; wanted train\.csv"),
        ({}, {"layout": "folders"}, r"holds no class folders with videos"),
        ({}, {"layout": "list", "train": "no.txt"}, r"there is no list .*no\.txt, which videos\.train names"),
        ({}, {"layout": "folders", "train": "no"}, r"there is no folder .*no, which videos\.train names"),
        ({"train.csv": "one\n"}, {}, r"train\.csv, line 1: a line must be 'path label', got 'one'"),
        ({"train.csv": "\n"}, {}, "lists no video"),
        ({"train.csv": "a.mp4 999999999\n"}, {}, "class 999999999 is none of the 100000"),
        ({"train.csv": "a.mp4 2\n", "n.txt": "x\ny\n"}, {"class_names": "n.txt"}, "class 2 is none of the 2"),
        ({"train.csv": "a.mp4 z\n", "n.txt": "x\ny\n"}, {"class_names": "n.txt"}, r"class 'z' is not among the 2 of n"),
        ({"train.csv": "a.mp4 0\n", "n.txt": "x\nx\n"}, {"class_names": "n.txt"}, r"n\.txt names a class twice"),
        ({"classInd.txt": "1 A\n3 B\n", "trainlist01.txt": ""}, {}, "numbered from 1 to 2"),
        ({"classInd.txt": "1 A\n", "trainlist01.txt": "B/c.avi 1\n"}, {}, r"trainlist01\.txt, line 1: wanted 'CLASS"),
        ({"classInd.txt": "1 A\n", "trainlist01.txt": "\n"}, {}, "the train part of .* lists no video"),
        ({"a_test_split1.txt": "b.avi 3\n"}, {}, r"line 1: wanted 'NAME\.avi' and 0, 1 or 2, got 'b\.avi 3'"),
        ({"labels.json": "{"}, {}, r"labels\.json cannot be read as JSON"),
        ({"labels.json": "[]"}, {}, r"labels\.json: wanted a JSON object"),
        ({"labels.json": '{"A": "1"}'}, {}, "wanted an object from template to number, 0 to 0"),
        ({"labels.json": '{"A": "0"}', "train.json": '[{"id": "1", "template": "B"}]'}, {}, "entry 1: wanted 'id' and"),
        (
            {"train.csv": "label,youtube_id,time_start,time_end,split\na,b,x,3,train\n"},
            {},
            r"train\.csv, line 2: wanted",
        ),
        (
            {"train.csv": f"label,youtube_id,time_start,time_end,split\n{'x' * 200_000},b,1,3,train\n"},
            {},
            r"train\.csv cannot be read as a list of videos: field larger",
        ),
    ],
)
def test_what_does_not_fit_is_said(
    tmp_path: Path, texts: dict[str, str], values: dict[str, object], message: str
) -> None:
    write(tmp_path, texts)
    with pytest.raises(VideoListError, match=message):
        read(tmp_path, "train", **values)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(VideoListError, match=r"there is no folder .*no; name the folder"):
        read(tmp_path / "no", "train")


def test_two_files_that_may_be_meant_are_both_named(tmp_path: Path) -> None:
    ucf101(tmp_path)
    touch(tmp_path, "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.mp4")
    touch(tmp_path, "small/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.mp4")
    with pytest.raises(VideoListError, match=r"may be .* or .*; remove one of them, or set videos\.root"):
        read(tmp_path, "train")
    assert read(tmp_path, "train", root="small")[1][0] == "small/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.mp4"


def test_missing_videos_stop_or_are_counted(tmp_path: Path) -> None:
    write(tmp_path, {"train.csv": "a.mp4 0\nb.mp4 1\nc.mp4 1\n"})
    touch(tmp_path, "b.mp4")
    found = read_videos(videos(), "train", tmp_path)
    with pytest.raises(VideoListError, match=r"2 of 3 listed videos are missing, such as .*a\.mp4; fetch them"):
        usable(found, videos())
    kept, skipped = usable(found, videos(on_error="skip"))
    assert (kept.files, kept.labels.tolist(), kept.classes, skipped) == ((tmp_path / "b.mp4",), [1], ("0", "1"), 2)
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(VideoListError, match="all 3 listed videos are missing"):
        usable(found, videos(on_error="skip"))


@pytest.mark.parametrize("labels", [np.zeros(2, np.int64), np.zeros(1, np.int32), np.array([2])])
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(VideoListError, match="labels must"):
        LabelledVideos((Path("a.mp4"),), labels, ("a", "b"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("videos={layout: folders, split: 2}", "split has no effect on layout 'folders'"),
        ("videos={sampling: uniform, stride: 2}", "stride has no effect on uniform sampling"),
        ("videos={layout: ucf}", "did you mean 'ucf101'"),
        ("videos={layouts: ucf101}", "unknown key 'videos.layouts'"),
    ],
)
def test_settings_without_effect_are_refused(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"(?i){message}"):
        load_recipe("demo", [setting])
