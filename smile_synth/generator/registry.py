"""Finding generators: by the name an installed package gave them, as ``module:Class``, or in a file."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from smile_synth.errors import GeneratorError, UntrustedCodeError, nearest, printable
from smile_synth.generator.base import Generator
from smile_synth.generator.deadline import DeadlineError, deadline
from smile_synth.params import StrictParams

GROUP = "smile_synth.generators"
BUNDLED = "smile_synth_generators"
# A plug-in whose import hangs is listed as broken, and the list ends.
SECONDS_PER_IMPORT = 20.0


@dataclass(frozen=True)
class FoundGenerator:
    """What is known of a registered generator.

    Args:
        name: what recipes call it.
        summary: first sentence of its docstring; empty where it cannot be read.
        package: name and version of the package that registered it.
        target: ``module:Class``.
        problem: why it cannot be used; empty for a working one.
    """

    name: str
    summary: str
    package: str
    target: str
    problem: str


_UNTRUSTED: ContextVar[str] = ContextVar("smile_synth_untrusted", default="")


@contextmanager
def registered_only(origin: str) -> Iterator[None]:
    """Let ``find`` import nothing but generators that installed packages register, while the block runs.

    Args:
        origin: what names the generators and is not trusted to run code, such as ``the recipe of clips.zarr``.
    """
    token = _UNTRUSTED.set(origin)
    try:
        yield
    finally:
        _UNTRUSTED.reset(token)


def find(name: str, folder: Path) -> type[Generator[Any]]:
    """Return the class of a generator.

    Args:
        name: a registered name, ``package.module:Class``, or ``file.py:Class`` (``file.py`` where it has one only).
        folder: what a relative file name starts from, usually the recipe's folder.

    Raises:
        GeneratorError: nothing is found, a name is registered twice, the plug-in's own code fails when it is
            imported, or what is found is no generator.
        UntrustedCodeError: it is not registered, inside ``registered_only``.
    """
    origin = _UNTRUSTED.get()
    if origin and (":" in name or name.endswith(".py")):
        place = name.partition(":")[0]
        what = str(folder / place) if place.endswith(".py") else f"the module {place}"
        raise UntrustedCodeError(
            f"{printable(origin)} names the generator {name!r}, which no installed package registers: it would run "
            f"{printable(what)}. Read it first, then allow it with --trust-code"
        )
    if name.endswith(".py"):
        return find(f"{name}:{_only_class(folder / name, name)}", folder)
    place, colon, class_name = name.rpartition(":")
    if not colon:
        point = _registered(name)
        place, _, class_name = point.value.partition(":")
        return _class_in(_import(place, name), class_name, name)
    module = _load_file(folder / place, name) if place.endswith(".py") else _import(place, name)
    return _class_in(module, class_name, name)


def registered_names() -> list[str]:
    """Return the names that a recipe can call a generator by, without importing any."""
    return sorted({point.name for point in _entry_points()})


def list_generators() -> tuple[FoundGenerator, ...]:
    """Return every registered generator, broken ones too.

    Bundled ones are described from their source without being imported; others are imported, because only that
    shows whether they work.
    """
    points = _entry_points()
    names = [point.name for point in points]
    return tuple(_describe(point, is_duplicate=names.count(point.name) > 1) for point in points)


def code_digest(generator: Generator[Any]) -> str:
    """Return a digest of the code that a generator and its parts are written in.

    Args:
        generator: a built one, which knows its parts.

    Returns:
        BLAKE2b-128 in hexadecimal over the files that they stand in; inside a package, also all modules beside and
        below.
    """
    files = sorted({file for cls in _classes(generator) for file in _source_files(Path(inspect.getfile(cls)))})
    state = hashlib.blake2b(digest_size=16)
    for file in files:
        content = file.read_bytes()
        state.update(f"{file.name}/{len(content)}/".encode())
        state.update(content)
    return state.hexdigest()


def _classes(generator: Generator[Any]) -> Iterator[type]:
    yield type(generator)
    for part in generator.parts:
        yield from _classes(part)


def _source_files(file: Path) -> set[Path]:
    if not (file.parent / "__init__.py").exists():
        return {file}
    return {path for path in file.parent.rglob("*.py") if "__pycache__" not in path.parts}


def _entry_points() -> list[EntryPoint]:
    # A package that is found twice (an editable install and its build folder) registers the same thing twice.
    points = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    return sorted(points.values(), key=lambda point: (not point.value.startswith(BUNDLED), point.name, point.value))


def _registered(name: str) -> EntryPoint:
    points = _entry_points()
    found = [point for point in points if point.name == name]
    if not found:
        known = registered_names()
        raise GeneratorError(
            f"there is no generator {name!r}.{nearest(name, known)} Known: {', '.join(known)}. Your own: "
            "package.module:Class, or file.py:Class relative to the recipe"
        )
    if len(found) > 1:
        raise GeneratorError(f"generator {name!r} is {_duplicate(found)}; uninstall one, or name it as module:Class")
    return found[0]


def _duplicate(points: list[EntryPoint]) -> str:
    return "registered twice: " + ", ".join(f"{point.value} by {_package(point)}" for point in points)


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _import(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise GeneratorError(
                f"generator {name!r}: there is no module {error.name!r}; install its package, or name a file.py:Class"
            ) from error
        raise _import_failure(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failure(name, error) from error


def _load_file(file: Path, name: str) -> ModuleType:
    """Load a file as a module of its own; the same content is loaded once in a process."""
    if not file.is_file():
        raise GeneratorError(
            f"generator {name!r}: there is no file {file}; "
            f"file names start from the recipe's folder, which verify takes as --folder"
        )
    content = file.read_bytes()
    digest = hashlib.blake2b(str(file.resolve()).encode() + content, digest_size=6).hexdigest()
    module_name = f"smile_synth_file_{digest}_{file.stem}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, file.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs: pickle and dataclasses look modules up by name.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise _import_failure(name, error) from error
    return module


def _import_failure(name: str, error: BaseException) -> GeneratorError:
    return GeneratorError(f"generator {name!r} cannot be imported, its own code fails: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """Return an exception in one line, with the last place it passed outside the import machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    where = frames[-1] if len(frames) > 1 else None
    place = f" ({where.filename}, line {where.lineno})" if where and where.filename != __file__ else ""
    return f"{type(error).__name__}: {error}{place}"


def _class_in(module: ModuleType, class_name: str, name: str) -> type[Generator[Any]]:
    found = getattr(module, class_name, None)
    if found is None:
        known = _generator_names(module)
        raise GeneratorError(
            f"generator {name!r}: there is no class {class_name!r} in it.{nearest(class_name, known)} "
            f"Generators in it: {', '.join(known) or 'none'}"
        )
    problem = _defect(found)
    if problem:
        raise GeneratorError(f"generator {name!r}: {problem}; see docs/writing-a-generator.md")
    cls: type[Generator[Any]] = found
    return cls


def _only_class(file: Path, name: str) -> str:
    names = _generator_names(_load_file(file, name))
    if len(names) != 1:
        raise GeneratorError(
            f"generator {name!r}: the file holds {', '.join(names) or 'no generator'}; name one class: {name}:YourClass"
        )
    return names[0]


def _generator_names(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Generator) and value.__module__ == module.__name__
    ]


def _defect(found: object) -> str:
    if not inspect.isclass(found) or not issubclass(found, Generator):
        return f"{found!r} is no subclass of smile_synth.generator.Generator"
    if inspect.isabstract(found):
        return f"{found.__name__} lacks {', '.join(sorted(found.__abstractmethods__))}"
    params = getattr(found, "Params", None)
    if not inspect.isclass(params) or not issubclass(params, StrictParams):
        return f"{found.__name__}.Params must be a subclass of smile_synth.params.StrictParams, got {params!r}"
    return ""


def _describe(point: EntryPoint, *, is_duplicate: bool) -> FoundGenerator:
    summary = _summary(point)
    problem = ""
    if is_duplicate:
        problem = "another package registers the same name; uninstall one, or name it as module:Class"
    elif not point.value.startswith(BUNDLED):
        problem = _problem(point)
    elif not summary:
        problem = f"{point.value} cannot be read; install smile-synth again"
    return FoundGenerator(point.name, summary, _package(point), point.value, problem)


def _problem(point: EntryPoint) -> str:
    module, _, class_name = point.value.partition(":")
    try:
        with deadline(SECONDS_PER_IMPORT):
            _class_in(_import(module, point.name), class_name, point.name)
    except (GeneratorError, DeadlineError) as error:
        return str(error)
    return ""


def _summary(point: EntryPoint) -> str:
    """Return the first sentence of the class's docstring, read from the source."""
    module, _, class_name = point.value.partition(":")
    file = _module_file(module)
    if file is None:
        return ""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:
        return ""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    return first_sentence(ast.get_docstring(classes[0]) or "") if classes else ""


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring, without its full stop."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".")


def _module_file(module: str) -> Path | None:
    """Return a module's source file; asking for a top-level name imports nothing."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    for location in spec.submodule_search_locations or ():
        base = Path(location, *rest)
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return file
    return None
