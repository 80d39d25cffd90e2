"""docs/recipes.md is made from the schema, and today's."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from smile_synth.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_page_is_current() -> None:
    made = CliRunner().invoke(app, ["recipes", "explain", "--markdown"])
    assert made.exit_code == 0, made.output
    assert PAGE.read_text(encoding="utf-8") == made.stdout, (
        "the schema has changed: smile-synth recipes explain --markdown > docs/recipes.md"
    )


def test_every_link_leads_to_a_heading() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = {title.lower().replace(".", "") for title in re.findall(r"^## (.*)$", text, flags=re.MULTILINE)}
    links = set(re.findall(r"\(#([^)]+)\)", text))
    assert len(links) > 20
    assert links <= headings
