"""Parameters of probes: what is refused, and that the bundled recipes hold together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smile_synth.errors import RecipeError
from smile_synth.recipe.recipe import load_recipe, parse_recipe

SOURCES = {"one": {"params": {"num_objects": [1, 1]}}}
QUESTIONS = [{"name": "direction", "source": "one", "label": "direction"}]


def parse(**probe: Any) -> None:
    values = {"sources": SOURCES, "questions": QUESTIONS, **probe}
    parse_recipe({"probe": values}, folder=Path.cwd(), origin="test.yaml")


@pytest.mark.parametrize("name", ["probe-motion", "probe-full", "probe-motion-only", "probe-videos"])
def test_bundled_recipes_read_back_from_what_they_resolve_to(name: str) -> None:
    recipe = load_recipe(name)
    again = parse_recipe(recipe.resolved(), folder=Path.cwd(), origin="resolved")
    assert again.section("probe") == recipe.section("probe")


def test_every_question_of_the_issue_is_in_the_full_recipe() -> None:
    questions = load_recipe("probe-full").section("probe").questions
    labels = {question.label for question in questions}
    assert labels == {"direction", "speed", "rotation", "size_change", "motion", "order", "object_class"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"questions": [{"name": "a", "source": "two", "label": "x"}]}, "source 'two'.*one"),
        ({"questions": QUESTIONS * 2}, "direction twice"),
        ({"questions": [{"name": "a"}]}, "needs 'source' and 'label', or 'videos'"),
        ({"questions": [{"name": "A b", "source": "one", "label": "x"}]}, "questions.0.name"),
        (
            {"questions": [QUESTIONS[0] | {"videos": {"train": "a", "test": "b"}}]},
            "source has no effect on question 'direction', which asks about videos: leave it out",
        ),
        ({"sources": {**SOURCES, "two": {}}}, "No question asks about source two|no question asks about source two"),
        ({"sources": {"one": {"assets": {"split": "pretrain"}}}}, "splits photographs and objects itself"),
        ({"knn": {"neighbours": 5}}, "knn has no effect unless 'classifiers' lists it"),
        ({"supervised": {"epochs": 5}}, "supervised has no effect unless 'baselines' lists it"),
        ({"blocks": [0]}, "blocks.0: input should be greater than or equal to 1"),
        ({"linear": {"strengths": [0.0]}}, r"linear.strengths.0: input should be greater than 0"),
        ({"classifiers": ["svm"]}, "classifiers"),
        ({"test_clip": 5}, "test_clips"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse(**values)
