"""The command line: thin, quick to start, one line for every error."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from smile_synth import __version__
from smile_synth.errors import SmileSynthError, in_one_line

COMMANDS = (
    "demo",
    "init",
    "render",
    "verify",
    "materialise",
    "slim",
    "info",
    "preview",
    "report",
    "card",
    "cache",
    "plan",
    "pretrain",
    "finetune",
    "evaluate",
    "probe",
    "export",
    "videos",
    "export-videos",
    "import-videos",
    "generators",
    "recipes",
    "doctor",
)
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class OneLineErrors(TyperGroup):
    """A command group that turns bad input into one line and exit code 2, unless ``--debug`` is given."""

    _debug = False

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        self._debug = "--debug" in arguments
        return super().main([a for a in arguments if a != "--debug"], *rest, **options)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of a pipe has seen enough (`... | head`); nothing more may be written to it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_BROKEN_PIPE) from None
        except (SmileSynthError, OSError, MemoryError) as error:
            if self._debug:
                raise
            typer.echo(f"smile-synth: {in_one_line(error)}", err=True)
            raise typer.Exit(EXIT_BAD_INPUT) from None
        except KeyboardInterrupt:
            if self._debug:
                raise
            typer.echo("smile-synth: interrupted; run the same command again to resume", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    name="smile-synth",
    cls=OneLineErrors,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"smile-synth {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error; may be given anywhere."),
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Pretrain video models with no natural video: render, look, pretrain, probe."""


for _name in COMMANDS:
    importlib.import_module(f"smile_synth.cli.{_name.replace('-', '_')}").register(app)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; SIGTERM, as clusters send it, ends a command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    app()
