"""How far a reader walks through the code to follow a network, a Run, an op time and a prediction.

    PYTHON benchmarks/walks.py [WAY]

PYTHON is that of the checkout to be walked; one of before the rooms works, too. Each way is a real
command, in this process with its workers, on the `fake` backend or committed files. A function
counts once, when it is first entered, in the order of entering: so would a reader read it. Left out
are what runs while a module is imported, and `types`, `errors` and `text`, the vocabulary of all
modules. Printed are

    stays      stretches of functions in one module
    modules    different ones
    folders    different ones
    returns    stays in a module that was visited before
    climbs     pairs of modules where the caller's is imported by the called one, perhaps through
               others: calls against the direction of imports

With the name of a WAY its stays and climbs are printed, in order.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

import nnprof

ROOT = Path(__file__).parents[1]
RUN = ROOT / "bench_results" / "group3-cpu-20261121-011203.json"
FROZEN = ROOT / "benchmarks" / "results" / "costmodel-own-frozen.json"
NETWORK = "1x28x28 conv8k5 pool2 fc10"
VOCABULARY = {"nnprof.types", "nnprof.errors", "nnprof.text"}
WAYS = {
    "network": ("export", NETWORK, "-o", "net.onnx"),
    "run": ("show", str(RUN), "--ops"),
    "op": ("bench", "--backend", "fake", "--batch", "64", "--quick", "--out", "runs"),
    "fit": ("fit-model", str(RUN), "-o", "model.json"),
    "prediction": ("predict", str(FROZEN), NETWORK, "--ops"),
}
Step = tuple[str, str]  # the caller's module and the called one, of the first call of a function


def either(*names: str) -> Any:
    """The module that this checkout has."""
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(name)
    raise ModuleNotFoundError(" or ".join(names))


def work_here() -> None:
    """Let jobs be done in this process; they pass through JSON as ever."""
    hosts = either("nnprof.profiler.work.hosts", "nnprof.profiler.hosts")
    worker = either("nnprof.profiler.work.worker", "nnprof.profiler.worker")
    jobs = either("nnprof.profiler.work.jobs", "nnprof.profiler.worker")

    def run_local(job: Any, *_: object) -> Any:
        allowed = os.sched_getaffinity(0)
        try:
            there = msgspec.json.decode(msgspec.json.encode(job), type=jobs.Job)
            done = worker.do(there, lambda _: None)
        finally:
            os.sched_setaffinity(0, allowed)
        return msgspec.json.decode(msgspec.json.encode(done), type=jobs.Answer)

    hosts.run_local = run_local


def steps(call: Callable[[], None]) -> list[Step]:
    """The first call of each function of nnprof, in order."""
    seen: set[object] = set()
    found: list[Step] = []

    def callers(frame: FrameType | None) -> Iterator[tuple[str, str]]:
        while frame:
            if (name := str(frame.f_globals.get("__name__", ""))).startswith("nnprof"):
                yield name, frame.f_code.co_name
            frame = frame.f_back

    def note(frame: FrameType, event: str, _: object) -> None:
        code, name = frame.f_code, str(frame.f_globals.get("__name__", ""))
        if event != "call" or code in seen or not name.startswith("nnprof"):
            return
        above = list(callers(frame.f_back))
        if not code.co_name.startswith("<") and all(place != "<module>" for _, place in above):
            seen.add(code)
            if name not in VOCABULARY:
                rooms = (room for room, _ in above if room not in VOCABULARY)
                found.append((next(rooms, name), name))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def importers() -> dict[str, set[str]]:
    """By module all that it imports, through others, too."""
    folder = Path(nnprof.__file__).parents[1]
    direct = {}
    for top in ("nnprof", "networks", "exporters", "profiler"):
        for path in (folder / top).rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join(part for part in ("nnprof", *parts) if part != "__init__")
            name = name.replace("nnprof.nnprof", "nnprof", 1)
            direct[name] = set(imported(ast.parse(path.read_text(encoding="utf-8"))))
    whole = {
        name: {one if one in direct else one.rpartition(".")[0] for one in targets} & set(direct)
        for name, targets in direct.items()
    }
    for _ in range(len(whole)):
        whole = {
            name: targets.union(*(whole[one] for one in targets)) for name, targets in whole.items()
        }
    return whole


def imported(tree: ast.Module) -> Iterator[str]:
    """Names that may be modules, of all imports in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def command(words: tuple[str, ...]) -> None:
    """Run a command of nnprof, without its output."""
    main = importlib.import_module("nnprof.cli.main").main
    sys.argv = ["nnprof", *words]
    said = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        said.flush()
    if code:
        raise SystemExit(f"nnprof {' '.join(words)} ended with {code}")


def main(chosen: str | None) -> None:
    """Walk all ways, or print one."""
    work_here()
    above = importers()
    print(f"{'way':<12}{'stays':>7}{'modules':>9}{'folders':>9}{'returns':>9}{'climbs':>8}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = folder
        for way in [chosen] if chosen else WAYS:
            found = steps(lambda words=WAYS[way]: command(words))
            stays = [module for module, _ in itertools.groupby(called for _, called in found)]
            climbs = {
                (caller, called)
                for caller, called in found
                if caller != called and caller in above.get(called, ())
            }
            modules = set(stays)
            folders = {module.rpartition(".")[0] for module in modules}
            counts = (len(stays), len(modules), len(folders), len(stays) - len(modules))
            print(f"{way:<12}{counts[0]:>7}{counts[1]:>9}{counts[2]:>9}{counts[3]:>9}", end="")
            print(f"{len(climbs):>8}", flush=True)
            if chosen:
                print(*stays, sep="\n")
                print(*(f"climb: {caller} calls {called}" for caller, called in climbs), sep="\n")
        os.chdir("/")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
