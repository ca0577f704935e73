"""The `nnprof` command: collects the subcommands and turns errors into sentences and exit codes.

Exit codes: 0 fine; 1 something was measured and failed, or a regression; 2 the request cannot be
carried out as it stands.
"""

from __future__ import annotations

import sys

import typer

from nnprof._version import __version__
from nnprof.cli.bench import bench
from nnprof.cli.compare import compare
from nnprof.cli.devices import devices
from nnprof.cli.export import export
from nnprof.cli.fit_model import fit_model
from nnprof.cli.import_ import import_
from nnprof.cli.plan import plan
from nnprof.cli.predict import predict
from nnprof.cli.search import search
from nnprof.cli.show import show
from nnprof.cli.train import train
from nnprof.errors import NnprofError

app = typer.Typer(
    name="nnprof",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (bench, show, compare, train, export, devices, fit_model, predict, search, plan):
    app.command()(command)
app.command("import")(import_)  # a word of Python's own


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"nnprof {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=_version
    ),
) -> None:
    """How fast a network classifies tiles, where the time goes, what the next one will cost."""


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except NnprofError as error:
        sys.stderr.write(f"nnprof: {error}\n")
        sys.exit(2)
