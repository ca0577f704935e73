"""The `nnprof` command: collects the subcommands and turns errors into sentences and exit codes.

Exit codes: 0 fine; 1 something was measured and failed (a cell, or a pass of one), or a regression,
or doctor found what makes numbers untrustworthy; 2 the request cannot be carried out as it stands,
or doctor found what makes measuring impossible; 70 a bug of nnprof's own; 130 stopped by Ctrl-C;
141 nobody read the output to its end.
"""

from __future__ import annotations

import io
import os
import resource
import select
import shlex
import subprocess
import sys
import traceback
from pathlib import Path

import typer

from nnprof._version import __version__
from nnprof.cli.bench import bench
from nnprof.cli.calibrate import calibrate
from nnprof.cli.compare import compare
from nnprof.cli.devices import devices
from nnprof.cli.diff import diff
from nnprof.cli.doctor import doctor
from nnprof.cli.export import export
from nnprof.cli.export_run import export_run
from nnprof.cli.fit_model import fit_model
from nnprof.cli.fleet import fleet
from nnprof.cli.import_ import import_
from nnprof.cli.maps import maps
from nnprof.cli.plan import plan
from nnprof.cli.plot import plot
from nnprof.cli.predict import predict
from nnprof.cli.report import report
from nnprof.cli.search import search
from nnprof.cli.setup import setup
from nnprof.cli.show import show
from nnprof.cli.studies import studies
from nnprof.cli.train import train
from nnprof.cli.trend import trend
from nnprof.errors import NnprofError, Unavailable, UsageError
from nnprof.text import plain

DEBUG_VARIABLE = "NNPROF_DEBUG"
BUG = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED, UNREAD = 130, 141  # as shells report an end by SIGINT, and by SIGPIPE
# What every command imports, and room to work.
_TRIAL = (sys.executable, "-c", "import numpy, onnx, nnprof.profiler.run.sweep; bytearray(1 << 26)")
_MOST_LETTERS = 2000  # of a sentence on a terminal

app = typer.Typer(
    name="nnprof",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (
    *(bench, show, report, compare, diff, trend, train, studies, export, export_run, plot, maps),
    *(devices, fleet, doctor, calibrate, fit_model, predict, search, plan),
):
    app.command()(command)
app.command("import")(import_)  # a word of Python's own
app.command()(setup)


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
    """Entry point of the console script: whatever happens, there is a sentence and an exit code."""
    _open_streams()
    output = os.dup(1)  # rich puts another file there once nobody reads
    try:
        _require_text()
        _require_memory()
        app()
    except SystemExit as ended:
        code = ended.code
        if isinstance(ended.__context__, BrokenPipeError):
            code = _broken(ended.__context__, output)
    except NnprofError as error:
        # A remedy may be a list, with a way on each line; names that come in have no lines.
        _tell("\n  ".join(map(plain, str(error).split("\n  "))))
        code = 2
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError as error:
        code = _broken(error, output)
    except OSError as error:
        code = _flushed(2, error)
    except MemoryError:
        _tell("There is too little memory for that. Free some, or raise the limit: ulimit -v.")
        code = 2
    except Exception as error:  # noqa: BLE001  the last handler: a bug is told, too
        code = _bug(error)
    sys.exit(_flushed(code))


def _open_streams() -> None:
    """Streams that were closed lead nowhere; no letter is a reason to end."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and number:
            stream.reconfigure(errors="backslashreplace")


def _require_text() -> None:
    """Refuse names that no file of ours could hold.

    Raises:
        UsageError: an argument, or the folder we are in, is not UTF-8.
    """
    try:
        here = str(Path.cwd())
    except OSError as error:
        raise UsageError("The folder that we are in is gone.", "Go to another one.") from error
    for word in (*sys.argv[1:], here):
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UsageError(f"'{word}' is not UTF-8.", "Rename it, or link to it by another name.")


def _require_memory() -> None:
    """Where address space is limited (`ulimit -v`), see that what every command needs fits.

    Libraries do not end well without it: by a signal, or in the middle of an import.

    Raises:
        Unavailable: it does not fit.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    try:
        fits = subprocess.run(_TRIAL, capture_output=True, check=False).returncode == 0
    except (OSError, MemoryError):
        fits = False
    if not fits:
        raise Unavailable(
            f"nnprof does not fit into {limit / 1e6:.0f} MB of address space.",
            "Raise the limit: ulimit -v.",
        )


def _tell(sentence: str) -> None:
    """A sentence to standard error, as long as a person would read."""
    text = sentence
    if len(text) > _MOST_LETTERS:
        text = f"{text[: _MOST_LETTERS // 2]} … {text[-_MOST_LETTERS // 2 :]}"
    try:
        sys.stderr.write(f"nnprof: {text}\n")
    except OSError:  # nowhere is left to say it
        return


def _broken(error: BrokenPipeError, output: int) -> int:
    """The exit code where a pipe broke: ours to the reader (such as head), or another one."""
    streams = select.poll()
    for number in (output, 2):
        streams.register(number, 0)
    unread = any(event & select.POLLERR for _, event in streams.poll(0))
    return UNREAD if unread else _bug(error)


def _bug(error: BaseException) -> int:
    """Say what is wrong with nnprof, where, and what to send; the exit code."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module.split(".")[0] == "nnprof":
            place = f" at {module.replace('.', '/')}.py:{line}"
    words = str(error).strip().rstrip(".")
    _tell(
        plain(
            f"This is a bug in nnprof {__version__}: "
            f"{type(error).__name__}{place}{f': {words}' if words else ''}. Please report this "
            f"line, with the command (nnprof {shlex.join(sys.argv[1:])}) and the file that it was "
            f"about; {DEBUG_VARIABLE}=1 shows more."
        )
    )
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    return BUG


def _flushed(code: int | str | None, seen: OSError | None = None) -> int | str | None:
    """The exit code once all output is out; Python would flush later, and complain at length.

    An error that was `seen` is a bug, unless the output cannot take a line end either.
    """
    try:
        if seen:
            sys.stdout.write("\n")
        sys.stdout.flush()
    except BrokenPipeError:
        code = UNREAD
    except (OSError, ValueError) as error:
        _tell(f"The output cannot be written: {error}. Free some space, or send it elsewhere.")
        code = code or 2
    else:
        return _bug(seen) if seen else code
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code
