from __future__ import annotations

import os
from pathlib import Path

import pytest

from smile_synth.errors import RecipeError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.layers import merge
from smile_synth.recipe.recipe import bundled_recipes, load_recipe, parse_recipe, recipe_digest


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_every_bundled_recipe_is_valid_and_describes_itself(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description, "`smile-synth recipes list` shows the description"
    assert bundled_recipes()[name].read_text(encoding="utf-8").startswith("#"), "the header says command and hardware"


def test_overrides_reach_nested_keys_and_are_read_as_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, "r.yaml", "dataset: {clips: 5}\n")
    recipe = load_recipe(path, ["dataset.clips=7", "dataset.canvas.height=32", "seed=3"])
    assert (recipe.dataset.clips, recipe.dataset.canvas.height, recipe.seed) == (7, 32, 3)  # type: ignore[union-attr]


def test_a_recipe_extends_another_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "name: base\nseed: 4\ndataset: {clips: 5, canvas: {height: 32, width: 64}}\n")
    path = write(tmp_path, "top.yaml", "extends: base.yaml\ndataset: {canvas: {height: 48}}\n")
    recipe = load_recipe(path)
    assert recipe.name == "top"
    assert recipe.seed == 4
    canvas = recipe.section("dataset").canvas
    assert (canvas.height, canvas.width) == (48, 64)


def test_a_recipe_extends_a_bundled_one(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.yaml", "extends: demo\ndataset: {clips: 3}\n")
    assert load_recipe(path).section("dataset").clips == 3
    assert load_recipe(path).section("dataset").canvas == load_recipe("demo").section("dataset").canvas


def test_another_generator_brings_its_own_parameters(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "dataset: {generator: cutouts, params: {num_objects: [1, 3]}, clips: 9}\n")
    path = write(tmp_path, "top.yaml", "extends: base.yaml\ndataset: {generator: noise, params: {kind: flow}}\n")
    dataset = load_recipe(path).section("dataset")
    assert (dataset.params, dataset.clips) == ({"kind": "flow"}, 9)
    path = write(tmp_path, "top.yaml", "extends: base.yaml\ndataset: {generator: cutouts, params: {order: random}}\n")
    assert load_recipe(path).section("dataset").params == {"num_objects": [1, 3], "order": "random"}


def test_an_error_in_what_was_inherited_names_its_recipe(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "dataset: {clips: 0}\npretrain: {max_steps: 3, teacher: {library: timm, model: m}}\n")
    path = write(tmp_path, "top.yaml", "extends: base.yaml\nseed: 4\n")
    with pytest.raises(RecipeError, match=r"dataset.clips: .* got 0 \(inherited from base.yaml\)"):
        load_recipe(path)
    with pytest.raises(RecipeError, match=r"got -1$"):
        load_recipe(path, ["dataset.clips=-1"])
    with pytest.raises(RecipeError, match=r"teacher has no effect .*: leave it out \(inherited from base.yaml\)"):
        load_recipe(path, ["dataset.clips=1", "pretrain.target.kind=pixels"])


def test_aliases_are_no_shared_values(tmp_path: Path) -> None:
    path = write(tmp_path, "r.yaml", "dataset: {params: {a: &x {y: 1}, b: *x}}\n")
    assert load_recipe(path, ["dataset.params.a.y=2"]).section("dataset").params == {"a": {"y": 2}, "b": {"y": 1}}


def test_lists_are_replaced_and_mappings_merged() -> None:
    assert merge({"a": {"x": 1, "y": [1, 2]}}, {"a": {"y": [3]}}) == {"a": {"x": 1, "y": [3]}}


def test_the_resolved_recipe_reads_back_to_itself(tmp_path: Path) -> None:
    recipe = load_recipe("demo")
    again = load_recipe(write(tmp_path, "demo.yaml", recipe.to_yaml()))
    assert again.resolved() == recipe.resolved()
    assert recipe_digest(again.resolved()) == recipe_digest(recipe.resolved())


def test_the_digest_sees_every_value_and_no_order() -> None:
    assert recipe_digest({"a": 1, "b": 2}) == recipe_digest({"b": 2, "a": 1})
    assert recipe_digest({"a": 1}) != recipe_digest({"a": 2})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset: {clips: 0}", "dataset.clips: input should be greater than or equal to 1, got 0"),
        ("dataset: {clisp: 3}", "unknown key 'dataset.clisp'. Did you mean 'clips'?"),
        ("datset: {}", "unknown key 'datset'. Did you mean 'dataset'?"),
        ("dataset: [1", "not valid YAML"),
        ("- 1", "must hold keys and values, got list"),
        ("extends: nothing-like-it", "there is no recipe 'nothing-like-it'"),
        ("extends: [demo]", "'extends' names one recipe"),
        ("seed: -1", "seed: input should be greater than or equal to 0, got -1"),
        ("dataset: !!python/object/apply:os.system ['true']", "tags such as '!!python/object/apply:os.system'"),
        ("seed: 1\nseed: 2", "line 2: key 'seed' is repeated; it first stands in line 1"),
        ("seed: true", "seed: input should be a number, got true"),
        ("seed: 2024-13-45", "seed: input should be a valid integer, unable to parse string as an integer, got"),
    ],
)
def test_a_bad_recipe_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, "bad.yaml", text))
    assert said in str(caught.value)


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="extend itself"):
        load_recipe(write(tmp_path, "loop.yaml", "extends: loop.yaml\n"))


def test_an_unknown_recipe_names_the_nearest_and_all() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean 'demo'.*one of: "):
        load_recipe("dmeo")


def test_a_name_with_another_ending_is_found_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.yaml", "seed: 1")
    with pytest.raises(RecipeError, match=f"there is no recipe .* Did you mean '{path}'"):
        load_recipe(tmp_path / "mine.yml")


def test_a_pipe_or_folder_is_no_recipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.yaml")
    with pytest.raises(RecipeError, match="got the pipe or device"):
        load_recipe(tmp_path / "r.yaml")
    with pytest.raises(RecipeError, match="got the pipe or device /dev/zero"):
        load_recipe("/dev/zero")
    with pytest.raises(RecipeError, match="got the folder"):
        load_recipe(tmp_path)
    with pytest.raises(RecipeError, match="cannot be read: File name too long"):
        load_recipe("x" * 5000)


@pytest.mark.parametrize(
    "override",
    [
        "dataset.clips",
        "=3",
        "dataset..clips=3",
        "seed.sub=1",
        "dataset.clips=[1",
        "probe.questions.²=1",
        f"probe.questions.{'9' * 5000}=1",
        "probe.questions.1=1",
        "probe.questions.0.name=x",
    ],
)
def test_a_malformed_override_is_refused(tmp_path: Path, override: str) -> None:
    path = write(tmp_path, "r.yaml", "seed: 1\ndataset: {clips: 5}\nprobe: {questions: [x]}\n")
    with pytest.raises(RecipeError, match="--set"):
        load_recipe(path, [override])


def test_relative_paths_start_from_the_recipes_folder(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "r.yaml", "seed: 1")).folder == tmp_path.resolve()
    assert load_recipe("demo").folder == Path.cwd()


def test_a_missing_section_is_named() -> None:
    recipe = parse_recipe({"dataset": {"clips": 1}}, folder=Path.cwd(), origin="r", name="r")
    with pytest.raises(RecipeError, match="no section 'probe', it has dataset"):
        recipe.section("probe")


def test_a_copy_elsewhere_keeps_what_paths_start_from(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "run").mkdir()
    recipe = load_recipe(write(tmp_path / "mine", "r.yaml", "dataset: {clips: 3}"))
    copy = load_recipe(write(tmp_path / "run", "recipe.yaml", recipe.to_yaml(with_folder=True)))
    assert copy.folder == (tmp_path / "mine").resolve()
    assert copy.resolved() == recipe.resolved(), "the folder belongs to the machine, not to the dataset"


def test_a_failing_clip_is_repeated_by_the_recipe_as_it_was_typed() -> None:
    dataset = Dataset.of(load_recipe("demo", ["dataset.clips=5000", "seed=4"]))
    command = dataset.repeat_command(4000)
    assert command == "smile-synth preview demo --set dataset.clips=5000 --seed 4 --clip 4000 --debug"
