"""docs/python.md and docs/api.md: the names in them are those of today, and none is left out."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import smile_synth as ss

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "python.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "api.md").read_text(encoding="utf-8")
README = (DOCS.parent / "README.md").read_text(encoding="utf-8")


def test_every_name_that_the_pages_use_is_public() -> None:
    used = set(re.findall(r"\bss\.([A-Za-z_]+)", GUIDE + README))
    assert len(used) > 15
    assert used <= set(ss.__all__)


def test_the_code_of_the_guide_is_python() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 7
    for block in blocks:
        ast.parse(block)


def test_parts_of_clips_and_events_are_there() -> None:
    for owner, name in ((ss.StoredClip, "clip"), (ss.TrainingEvent, "event"), (ss.Store, "store")):
        known = {*dir(owner), *getattr(owner, "__dataclass_fields__", ())}
        used = set(re.findall(rf"\b{name}\.([a-z_]+)", GUIDE))
        assert used
        assert used <= known


def test_the_reference_has_every_public_name() -> None:
    listed = set(re.findall(r"^::: (\S+)$", REFERENCE, flags=re.MULTILINE))
    for name in set(ss.__all__) - {"__version__"}:
        public = getattr(ss, name)
        public = public._function if inspect.ismodule(public) else public
        assert f"{public.__module__}.{public.__qualname__}" in listed, name
