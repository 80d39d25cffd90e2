"""The base of every parameter model: strict, frozen, without unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictParams(BaseModel):
    """Parameters that refuse unknown keys and cannot change after they were checked.

    Every field of a subclass carries a description, its unit and its range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)
