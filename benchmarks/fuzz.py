"""Every reader, fed with changed copies of real files: a value or one sentence, and nothing else.

    python benchmarks/fuzz.py [READER...] [--inputs 10000] [--seed 0] [--keep FOLDER]

The files are the project's own examples. Each input is read and used as the commands use it. A
finding is any exception but an `NnprofError`, an input that takes longer than its limit, and the
end of a process by a signal. Readers run in forked processes with a bound on memory, `onnx` in one
process per input, through the worker that `bench --ops runtime` uses. Prints a table, then each
kind of finding once; --keep writes an input of each. The exit code is 1 where there are findings.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from fuzz_inputs import Example, examples, mutated
from fuzz_readers import READERS, Reader

from nnprof.errors import CellError, NnprofError

ROOM = 3 << 30  # bytes of address space beyond what a process has when it starts to read
LIMIT_S = 20.0
_STOPPED_S = 10.0  # after its limit, a process that does not even obey its alarm is ended


class Result(NamedTuple):
    """What became of one input: "read", "refused", "failed" (a Failure in the Run), a finding."""

    number: int
    kind: str
    where: str = ""


class TooSlow(BaseException):
    """An input had its time; no `except Exception` of a library keeps this."""


def one(reader: Reader, folder: Path, example: Example, number: int) -> Result:
    """Read one input and use it."""
    try:
        reader.use(folder, example)
    except NnprofError as error:
        text = str(error)
        whole = "Traceback" not in text and error.reason.strip() != ""
        kind = "failed" if isinstance(error, CellError) else "refused"
        return Result(number, kind if whole else "finding", "" if whole else f"text: {text}")
    except TooSlow:
        return Result(number, "finding", f"took more than {LIMIT_S:.0f} s")
    except BaseException as error:  # noqa: BLE001  that is what is looked for
        return Result(
            number, "finding", f"{type(error).__name__} at {_place(error)}: {error!s:.90}"
        )
    return Result(number, "read")


def _place(error: BaseException) -> str:
    """The innermost line of nnprof."""
    place = "?"
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module.split(".")[0] == "nnprof":
            place = f"{module.removeprefix('nnprof.')}:{line}"
    return place


def _bounded() -> None:
    """In a forked process: little memory, an alarm, nothing to see."""
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (size * resource.getpagesize() + ROOM,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")


def _child(work: Callable[[int], None]) -> tuple[int, int]:
    """A forked process that writes its results to a pipe: its id, and the end to read."""
    there, here = os.pipe()
    child = os.fork()
    if child:
        os.close(here)
        return child, there
    code = 1
    try:
        os.setsid()
        os.close(there)
        _bounded()
        work(here)
        code = 0
    finally:
        os._exit(code)


def _results(pipe: int, child: int) -> tuple[list[Result], str]:
    """What a process answered, and how it ended, "" where it ended well."""
    data, silent = b"", False
    while True:
        signal.alarm(int(LIMIT_S + _STOPPED_S))
        try:
            piece = os.read(pipe, 1 << 16)
        except TooSlow:
            silent = True
            os.killpg(child, signal.SIGKILL)
            break
        if not piece:
            break
        data += piece
    signal.alarm(0)
    os.close(pipe)
    _, status = os.waitpid(child, 0)
    lines = [line.split(b"\0") for line in data.split(b"\n") if line.count(b"\0") == 2]
    results = [Result(int(a), b.decode(), c.decode()) for a, b, c in lines]
    if silent:
        return results, f"did not stop after {LIMIT_S:.0f} s"
    if os.WIFSIGNALED(status):
        return results, f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return results, "" if not status else f"ended with status {status}"


def run(reader: Reader, inputs: int, seed: int, keep: Path | None = None) -> list[Result]:
    """All results of a reader; a process that ends is a result, and the next one goes on."""
    old = signal.signal(signal.SIGALRM, _stop)
    try:
        results = _all_results(reader, inputs, seed)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    if keep:
        _kept(reader, results, seed, keep)
    return results


def _stop(*_: object) -> None:
    raise TooSlow


def _all_results(reader: Reader, inputs: int, seed: int) -> list[Result]:
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="nnprof-fuzz-") as folder:
        while len(results) < inputs:
            begin, count = len(results), min(inputs - len(results), reader.per_process)
            numbers = range(begin, begin + count)
            child, pipe = _child(partial(_work, reader, Path(folder), numbers, seed))
            answered, ending = _results(pipe, child)
            results += answered
            if len(answered) < count:
                results.append(Result(len(results), "finding", ending or "did not answer"))
    return results


def _work(reader: Reader, folder: Path, numbers: range, seed: int, pipe: int) -> None:
    """In a forked process: these inputs, and a line for each."""
    seeds = examples(reader.name)
    for number in numbers:
        example = mutated(seeds, Random(f"{seed}/{reader.name}/{number}"))
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        result = one(reader, folder, example, number)
        signal.setitimer(signal.ITIMER_REAL, 0)
        where = result.where.replace("\0", " ").replace("\n", " ")
        os.write(pipe, f"{number}\0{result.kind}\0{where}\n".encode(errors="replace"))


def _kept(reader: Reader, results: list[Result], seed: int, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    seeds, seen = examples(reader.name), set()
    for result in results:
        kind = result.where.split(": ")[0]
        if result.kind == "finding" and kind not in seen:
            seen.add(kind)
            example = mutated(seeds, Random(f"{seed}/{reader.name}/{result.number}"))
            (keep / f"{reader.name}-{result.number}.pickle").write_bytes(pickle.dumps(example))


def main() -> int:
    """Run the readers that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("readers", nargs="*", help=f"of {', '.join(READERS)}")
    parser.add_argument("--inputs", type=int, default=10_000, help="per reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for an input of each kind of finding")
    given = parser.parse_args()

    print("| reader | inputs | refused | failed | read | findings |\n" + "| --- " * 6 + "|")
    found = 0
    for name in given.readers or READERS:
        results = run(READERS[name], given.inputs, given.seed, given.keep)
        counts = Counter(result.kind for result in results)
        print(
            f"| {name} | {len(results)} | {counts['refused']} | {counts['failed']} | "
            f"{counts['read']} | {counts['finding']} |",
            flush=True,
        )
        kinds = Counter(r.where for r in results if r.kind == "finding")
        for where, count in kinds.most_common(20):
            print(f"  {count} × {where}", file=sys.stderr, flush=True)
        found += counts["finding"]
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
