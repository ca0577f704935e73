"""The house rules that a machine can check: who may import whom, and who may know a backend."""

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path

import nnprof

ROOT = Path(__file__).parents[1]
FOLDERS = ("nnprof", "networks", "exporters", "profiler")

# The order of rooms, from the ground: a module imports from its own line and those above it. The
# longest prefix counts.
ORDER = (
    ("nnprof._version", "nnprof.errors", "nnprof.text", "nnprof.types"),
    ("nnprof.files", "nnprof.locks", "nnprof.registry", "nnprof.terminal"),
    ("nnprof.documents",),
    ("nnprof.networks",),
    ("nnprof.exporters",),
    ("nnprof.profiler.ports", "nnprof.profiler.pairs", "nnprof.profiler.stats"),
    ("nnprof.profiler.shares", "nnprof.profiler.turns", "nnprof.profiler.twins"),
    ("nnprof.profiler.tails",),
    ("nnprof.profiler.arrays", "nnprof.profiler.values", "nnprof.profiler.waits"),
    ("nnprof.profiler.inputs",),
    (
        "nnprof.profiler.frames",
        "nnprof.profiler.framed_cells",
        "nnprof.profiler.taken",
        "nnprof.profiler.streamed",
    ),
    ("nnprof.profiler.changes",),
    ("nnprof.profiler.steady",),
    ("nnprof.profiler.deadlines",),
    ("nnprof.profiler.decisions",),
    ("nnprof.profiler.graph",),
    ("nnprof.profiler.importers",),
    ("nnprof.profiler.devices",),
    ("nnprof.profiler.place",),
    ("nnprof.profiler.backends",),
    ("nnprof.profiler.timing",),
    ("nnprof.profiler.work",),
    ("nnprof.profiler.checks", "nnprof.profiler.conditions"),
    ("nnprof.profiler.compare", "nnprof.profiler.series"),
    ("nnprof.profiler.trend",),
    ("nnprof.profiler.diff",),
    ("nnprof.profiler.results", "nnprof.profiler.studies", "nnprof.profiler.placed"),
    ("nnprof.profiler.claims", "nnprof.profiler.grids", "nnprof.profiler.trained"),
    ("nnprof.profiler.listed",),
    ("nnprof.profiler.figures", "nnprof.profiler.varied"),
    ("nnprof.profiler.run",),
    ("nnprof.profiler.fleet",),
    ("nnprof.profiler.doctor",),
    ("nnprof.profiler.setup",),
    ("nnprof.profiler.costmodel",),
    ("nnprof.profiler.report",),
    ("nnprof.profiler.page",),
    ("nnprof.profiler.exports",),
    ("nnprof", "nnprof.profiler"),
    ("nnprof.cli",),
    ("nnprof.__main__",),
)
LAYERS = {module: number for number, modules in enumerate(ORDER) for module in modules}

RUNTIMES = {"torch", "onnxruntime", "tensorrt", "openvino", "MNN", "ncnn", "ai_edge_litert"}
SCIENCE = {"scipy", "sklearn"}
RUNTIME_HOMES = (
    "profiler/backends/",
    "profiler/devices/",
    "networks/pytorch.py",
    "exporters/",
)
SCIENCE_HOMES = (
    "networks/datasets.py",
    "profiler/changes.py",
    "profiler/costmodel/solve.py",
    "profiler/series.py",
    "profiler/shares.py",
    "profiler/tails.py",
)
BACKEND_NAME_HOMES = (
    "profiler/backends/",
    "nnprof/types.py",
    "exporters/check.py",
    "exporters/export.py",  # torch, the library, not the backend
    "exporters/litert.py",  # torch, the library
    "exporters/ncnn.py",  # the package
    "exporters/precision.py",  # whose converters it calls
    "nnprof/cli/train.py",  # the same choice
    "networks/settings.py",  # whose defaults an optimiser has
    "networks/hardware.py",  # the version of what trained
    "networks/pytorch.py",  # torch, the library
    "profiler/place/environment.py",
    "profiler/place/installed.py",  # what is installed for them
    "profiler/devices/jetson.py",  # which runtime comes with the board
    # readers of what these runtimes write
    "profiler/importers/ort_",
    "profiler/importers/trtexec_",
)
MOST_LINES = 40  # of a function
MOST_TEST_LINES = 50  # of a test, which tells a story from its beginning to its end
MOST_FILE_LINES = 400
REASON = "longer than 400 lines because"  # in the docstring of a file that has more
COMMANDS_IMPORT = (
    "nnprof.cli.",
    "nnprof.errors.",
    "nnprof.profiler.report.",
    "nnprof.terminal.",
    "nnprof.text.",
    "nnprof.types",
    "nnprof._version.",
)
BESIDE_THE_API = {
    "forms.py nnprof.registry",
    # `nnprof devices` looks into the machine itself; the API has no words for that yet.
    "devices.py nnprof.registry",
    "devices.py nnprof.profiler.place.boards",
    "devices.py nnprof.profiler.place.claims",
    "devices.py nnprof.profiler.place.kept",
    "devices.py nnprof.profiler.place.limits",
    "devices.py nnprof.profiler.place.place.Place",
    "devices.py nnprof.profiler.place.runtimes",
    "devices.py nnprof.profiler.place.watcher",
    "devices.py nnprof.profiler.ports.Device",
    "devices.py nnprof.profiler.run.accuracy",
    "devices.py nnprof.profiler.run.begin",
    "devices.py nnprof.profiler.run.machine",
    "devices.py nnprof.profiler.work.hosts",
    # So does `nnprof setup`, and it changes it.
    "setup.py nnprof.profiler.setup.steps",
    "setup.py nnprof.profiler.setup.steps.Step",
    # constants behind a flag
    "plans.py nnprof.profiler.place.watcher.INTERVAL_S",
    "sides.py nnprof.exporters.axes.ALL",
    # what is printed of a Run
    "import_.py nnprof.profiler.importers.runs",
}


def sources() -> list[Path]:
    """Every Python file of the package."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def parsed(paths: list[Path]) -> Iterator[tuple[str, ast.Module]]:
    """Each file's name from the root, and its tree."""
    for path in paths:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def module_name(name: str) -> str:
    """`profiler/stats.py` → `nnprof.profiler.stats`."""
    parts = name.removesuffix(".py").removesuffix("/__init__").split("/")
    return ".".join(parts if parts[0] == "nnprof" else ["nnprof", *parts])


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def layer(module: str) -> int:
    """The layer of the longest prefix of a module's name."""
    while module not in LAYERS:
        module = module.rpartition(".")[0]
    return LAYERS[module]


def test_the_files_are_found() -> None:
    """The rules below look at the whole package, not at an empty list."""
    names = {name for name, _ in parsed(sources())}
    assert {"nnprof/types.py", "networks/spec.py", "nnprof/cli/main.py"} <= names


def test_imports_point_down() -> None:
    """No room imports from one that comes after it in ORDER."""
    wrong = [
        f"{name}:{line} imports {target}"
        for name, tree in parsed(sources())
        for line, target in imports(tree)
        if target.split(".")[0] == "nnprof" and layer(target) > layer(module_name(name))
    ]
    assert not wrong


def imported_modules() -> dict[str, set[str]]:
    """Each module's imports of ours, those inside functions too, but not those for types only."""
    modules = {module_name(name): tree for name, tree in parsed(sources())}
    found: dict[str, set[str]] = {}
    for module, tree in modules.items():
        targets = {target for _, target in imports(tree)}
        known = {target if target in modules else target.rpartition(".")[0] for target in targets}
        found[module] = (known & set(modules)) - {module}
    return found


def test_no_circle() -> None:
    """No module imports itself through others, late or early."""
    left = imported_modules()
    while leaves := [module for module, targets in left.items() if not targets & set(left)]:
        for module in leaves:
            del left[module]
    assert not sorted(left)


def test_rooms_say_what_they_hold() -> None:
    """Each room's docstring says what lives there, what it imports, and where a new thing goes."""
    for name, tree in parsed([path for path in sources() if path.name == "__init__.py"]):
        if name != "nnprof/__init__.py" and name != "networks/bundled/__init__.py":
            said = ast.get_docstring(tree) or ""
            assert "mports" in said, name
            assert "new" in said, name


def test_imports_are_absolute() -> None:
    """No import is relative, so that the rule above sees every one."""
    wrong = [
        f"{name}:{line} imports {target}"
        for name, tree in parsed(sources())
        for line, target in imports(tree)
        if target.startswith(".")
    ]
    assert not wrong


def strays(libraries: set[str], homes: tuple[str, ...]) -> list[str]:
    """Imports of these libraries outside these files and folders."""
    return [
        f"{name}:{line} imports {target}"
        for name, tree in parsed(sources())
        for line, target in imports(tree)
        if target.split(".")[0] in libraries and not name.startswith(homes)
    ]


def test_only_adapters_import_runtimes() -> None:
    """torch, onnxruntime, tensorrt, openvino, MNN, ncnn and LiteRT are known to adapters only."""
    assert not strays(RUNTIMES, RUNTIME_HOMES)


def test_few_import_science() -> None:
    """Slow to load, scipy and scikit-learn are for data sets and comparisons only."""
    assert not strays(SCIENCE, SCIENCE_HOMES)


def backend_names() -> set[str]:
    """Backends that setup.cfg registers."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options.entry_points"]["nnprof.backends"].split("\n")
    return {line.split("=")[0].strip() for line in lines if line}


def test_the_core_never_asks_which_backend_it_has() -> None:
    """No backend's name stands as a string outside the backends and the few homes of defaults."""
    known = backend_names()
    wrong = [
        f"{name}:{node.lineno} says '{node.value}'"
        for name, tree in parsed(sources())
        if not name.startswith(BACKEND_NAME_HOMES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in known
    ]
    assert not wrong


def functions(paths: list[Path]) -> Iterator[tuple[str, int]]:
    """Each function's file and name, and its lines; of a command those behind its flags."""
    for name, tree in parsed(paths):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                begin = node.body[0].lineno - 1 if name.startswith("nnprof/cli/") else node.lineno
                yield f"{name} {node.name}", (node.end_lineno or 0) - begin + 1


def test_functions_are_short() -> None:
    """A function has at most 40 lines, a test 50."""
    tests = sorted((ROOT / "tests").rglob("*.py"))
    wrong = {name for name, lines in functions(sources()) if lines > MOST_LINES}
    wrong |= {name for name, lines in functions(tests) if lines > MOST_TEST_LINES}
    assert not wrong


def test_files_are_short() -> None:
    """A file of the package has at most 400 lines, or its docstring says why it has more."""
    for path in sources():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MOST_FILE_LINES:
            assert REASON in " ".join((ast.get_docstring(ast.parse(text)) or "").split()), name


def test_commands_call_the_api() -> None:
    """A command calls `nnprof.…` and prints with `report`; the few imports beyond are listed."""
    wrong = {
        f"{name.rpartition('/')[2]} {target}"
        for name, tree in parsed(sorted((ROOT / "nnprof" / "cli").glob("*.py")))
        for _, target in imports(tree)
        if target.startswith("nnprof.") and not target.startswith(COMMANDS_IMPORT)
        if target.removeprefix("nnprof.") not in nnprof.__all__
    }
    assert wrong == BESIDE_THE_API


def test_commands_leave_rich_to_the_report() -> None:
    """A command prints what `report` and `terminal` make; but for the bar of progress."""
    for name, tree in parsed(sorted((ROOT / "nnprof" / "cli").glob("*.py"))):
        if name != "nnprof/cli/progress.py":
            assert not [target for _, target in imports(tree) if target.startswith("rich")], name
