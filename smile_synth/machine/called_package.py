"""Packages that bear the name of a public function: ``smile_synth.render`` is imported from, and called."""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


class CalledPackage(ModuleType):
    """A package that is called as the function of its name in ``smile_synth.api``.

    Python sets a package as an attribute of the one that it lies in, where the public function has its place.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._function(*arguments, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def _function(self) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module(f"smile_synth.api.{name}"), name)


def make_callable(package: str) -> None:
    """Let a package, named as ``__name__`` has it, be called."""
    sys.modules[package].__class__ = CalledPackage
