"""What we call of TensorRT exists, by that name, with those arguments, in its real bindings.

The bindings are a small wheel (1 MB) beside the large libraries. They are loaded here on empty
stand-ins for those libraries, mypy's stubgen turns them into stubs, and mypy checks our code
against the stubs. Put wheels of several versions into a folder:

    pip download --no-deps -d FOLDER tensorrt-cu12-bindings==10.3.0
    NNPROF_TENSORRT=FOLDER pytest tests/exporters/test_tensorrt_signatures.py
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("exporters/tensorrt.py", "profiler/backends/tensorrt.py")
LIBRARIES = ("nvinfer", "nvonnxparser", "nvparsers", "nvinfer_plugin")
# All that the bindings ask of them at load time (nm -D --undefined-only tensorrt.so).
SYMBOLS = """
createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL
createNvOnnxParserRefitter_INTERNAL createNvOnnxParser_INTERNAL getBuilderPluginRegistry
getNvOnnxParserVersion getPluginRegistry initLibNvInferPlugins
_ZN11nvuffparser15createUffParserEv _ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi
_ZN14nvcaffeparser117createCaffeParserEv _ZN14nvcaffeparser123shutdownProtobufLibraryEv
"""
SETTINGS = """
[mypy]
strict = True
warn_unused_ignores = False
disallow_untyped_calls = False
follow_imports = silent
[mypy-onnx.*,cuda.*,google.protobuf.*]
ignore_missing_imports = True
[mypy-tensorrt_bindings.*]
ignore_errors = True
"""
# Written in Python in the package, not in the binary.
PACKAGE = """
from typing import Any
from tensorrt_bindings.tensorrt import *
__version__: str
def nptype(trt_type: DataType) -> Any: ...
"""
# What some versions' docstrings do not tell, as others tell it.
UNTOLD = {
    "get_error": "self, index: int) -> ParserError",
    "create_engine_inspector": "self) -> EngineInspector",
}
SUFFIX = "_of_no_version"


def wheels() -> list[Path]:
    """Those in the folder that NNPROF_TENSORRT names, made for this Python."""
    folder = os.environ.get("NNPROF_TENSORRT")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}-"
    return sorted(path for path in Path(folder).glob("*.whl") if tag in path.name) if folder else []


class Bindings(NamedTuple):
    """A wheel's bindings, ready to be imported and checked against."""

    version: str
    folder: Path
    environment: dict[str, str]
    stubs: Path


NOTHING = pytest.param(
    None,
    id="none",
    marks=pytest.mark.skip("NNPROF_TENSORRT names no folder of tensorrt-cu12-bindings wheels"),
)


@pytest.fixture(scope="module", params=wheels() or [NOTHING], ids=lambda path: path.name[:40])
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    """Each wheel: unpacked, on stand-ins for its libraries, with stubs."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make the stand-ins with")
    folder = tmp_path_factory.mktemp("bindings")
    with zipfile.ZipFile(request.param) as wheel:
        wheel.extractall(folder)
    version = re.search(r"bindings-([\d.]+)", request.param.name)
    assert version
    _stand_ins(folder, version[1].split(".")[0], compiler)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
    found = Bindings(version[1].rstrip("."), folder, environment, folder / "stubs")
    _write_stubs(found)
    return found


def _stand_ins(folder: Path, major: str, compiler: str) -> None:
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in SYMBOLS.split()))
    first, *others = (folder / f"lib{name}.so.{major}" for name in LIBRARIES)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", first, source], check=True)
    for other in others:
        shutil.copy(first, other)


def _write_stubs(bindings: Bindings) -> None:
    code = (
        "from mypy import stubgen; stubgen.main(['-q', '--inspect-mode', '-m', "
        f"'tensorrt_bindings.tensorrt', '-o', {str(bindings.stubs)!r}])"
    )
    run(bindings, code)
    stub = bindings.stubs / "tensorrt_bindings" / "tensorrt.pyi"
    stub.write_text("\n".join(map(_parsed, stub.read_text().splitlines())))
    (stub.parent / "__init__.pyi").touch()
    package = bindings.stubs / "tensorrt"
    package.mkdir()
    (package / "__init__.pyi").write_text(PACKAGE)


def _parsed(line: str) -> str:
    """A line of a stub; a signature that is no Python (one is not) is left open."""
    if line == "bool: DataType":  # would hide Python's own in all that follows
        return ""
    found = re.match(r"(\s*)def (\w+)\(", line)
    if not found:
        return line
    if "*args, **kwargs" in line and found[2] in UNTOLD:
        return f"{found[1]}def {found[2]}({UNTOLD[found[2]]}: ..."
    try:
        ast.parse(line.strip())
    except SyntaxError:
        return f"{found[1]}def {found[2]}(self, *args: Any, **kwargs: Any) -> Any: ..."
    return line


def run(bindings: Bindings, code: str) -> str:
    """What a Python says that has these bindings."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=bindings.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(bindings: Bindings, tree: Path) -> list[str]:
    """The complaints of mypy about our two modules, as they stand in a tree."""
    settings = bindings.folder / "mypy.ini"
    settings.write_text(SETTINGS)
    modules = [f"-mnnprof.{name.removesuffix('.py').replace('/', '.')}" for name in OURS]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", settings, "--no-error-summary",
         "--cache-dir", bindings.folder / "cache", *modules],
        env={**os.environ, "MYPYPATH": f"{tree}:{bindings.stubs}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout.splitlines()


def typing_tree(folder: Path) -> Path:
    """Copies of the root folders, as the packages that they are installed as."""
    package = folder / "nnprof"
    shutil.copytree(ROOT / "nnprof", package)
    for name in ("profiler", "networks", "exporters"):
        shutil.copytree(ROOT / name, package / name)
    return folder


def attributes() -> set[str]:
    """Every name that our two modules look up in something."""
    trees = [ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in OURS]
    return {
        node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


def ours_of(bindings: Bindings) -> set[str]:
    """Those of them that are names of TensorRT, and not as well names of something of ours."""
    stub = ast.parse((bindings.stubs / "tensorrt_bindings" / "tensorrt.pyi").read_text())
    theirs: set[str] = set()
    for node in ast.walk(stub):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            theirs.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            theirs.add(node.target.id)
    elsewhere = {"append", "build", "index", "items", "name", "shape", "values", "version", "major"}
    elsewhere |= {"clear", "copy", "itemsize", "minor", "model", "type", "insert"}
    return {
        name
        for name in attributes() & theirs
        if not (name.startswith("__") and name.endswith("__")) and name not in elsewhere
    }


def test_our_calls_have_the_real_names_and_arguments(bindings: Bindings, tmp_path: Path) -> None:
    """Against the real signatures mypy has no complaint about our code."""
    assert check(bindings, typing_tree(tmp_path)) == []


def renamed(names: set[str], folder: Path) -> Path:
    """Our sources with these names put in place of others that no version has."""
    tree = typing_tree(folder)
    for name in OURS:
        path = tree / "nnprof" / name
        text = path.read_text(encoding="utf-8")
        for attribute in names:
            text = re.sub(rf"\.{attribute}\b", f".{attribute}{SUFFIX}", text)
        path.write_text(text, encoding="utf-8")
    return tree


def test_no_name_escapes_the_check(bindings: Bindings, tmp_path: Path) -> None:
    """Each name of TensorRT that we use would be missed if a version did not have it.

    What comes after a missing name is not checked, so names that were missed are put back, and the
    others are tried again.
    """
    left = ours_of(bindings)
    assert len(left) > 25
    for number in range(8):
        complaints = "\n".join(check(bindings, renamed(left, tmp_path / str(number))))
        missed = set(re.findall(rf'"(?:\w+\.)*(\w+?){SUFFIX}"', complaints))
        if not missed & left:
            break
        left -= missed
    assert not left, f"not checked: {sorted(left)}"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ignore_mismatch=", "ignore_mismatches="),
        ("min=shape", "least=shape"),
        ("execute_async_v3(int(self._stream))", "execute_async_v3()"),
        ("parse_from_file(model.path)", "parse_from_file(model.path, 1, 2)"),
    ],
)
def test_wrong_arguments_are_found(
    bindings: Bindings, tmp_path: Path, right: str, wrong: str
) -> None:
    """A keyword of another name, and an argument too many or too few, are complaints."""
    tree = typing_tree(tmp_path)
    for name in OURS:
        path = tree / "nnprof" / name
        path.write_text(path.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    assert len(check(bindings, tree)) > 0


def flags_of(bindings: Bindings) -> Iterator[str]:
    """Enumeration.MEMBER for the flags that we look up by name in this version."""
    from nnprof.exporters import tensorrt as engines

    if engines.version_of(bindings.version) >= engines.STRONGLY_TYPED:
        yield "NetworkDefinitionCreationFlag.STRONGLY_TYPED"
        return
    yield "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"
    for names in engines.WEAK_FLAGS.values():
        yield from (f"BuilderFlag.{name}" for name in names)


def test_flags_looked_up_by_name_exist(bindings: Bindings) -> None:
    """Those that are not written as attributes are members of their enumerations."""
    wanted = list(flags_of(bindings))
    said = run(
        bindings,
        "import tensorrt_bindings as trt\n"
        f"for flag in {wanted!r}:\n"
        "    kind, member = flag.split('.')\n"
        "    print(member in getattr(trt, kind).__members__)",
    )
    assert said.split() == ["True"] * len(wanted)


def test_logger_and_profiler_are_called_as_we_define_them(bindings: Bindings) -> None:
    """The real base classes take our subclasses, and a real logger's message arrives in `said`."""
    said = run(
        bindings,
        "import sys, tensorrt_bindings as trt\n"
        "sys.modules['tensorrt'] = trt\n"
        f"sys.path.append({str(ROOT / 'tests')!r})\n"
        "from nnprof.exporters import tensorrt as engines\n"
        "from nnprof.profiler.backends import tensorrt as backend\n"
        "log, rows = engines.logger(), [[]]\n"
        "log.log(trt.ILogger.Severity.ERROR, 'no')\n"
        "log.log(trt.ILogger.Severity.WARNING, 'hm')\n"
        "profiler = backend.collector(rows)\n"
        "profiler.report_layer_time('conv', 0.5)\n"
        "print(isinstance(log, trt.ILogger), isinstance(profiler, trt.IProfiler))\n"
        "print(log.said, rows, engines.library().__version__)",
    )
    first, second = said.splitlines()
    assert first == "True True"
    assert second.startswith("['no'] [[('conv', 0.0005)]] " + bindings.version[:4])
