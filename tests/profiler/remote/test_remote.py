"""Boards over SSH: a real sshd, real workers, and what goes wrong between them and us."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from fake_ssh import SshBoard
from msgspec.structs import replace

from nnprof.errors import ConnectionLost, Unavailable, WorkerTimeout
from nnprof.exporters.models import load_model
from nnprof.profiler.place import boards, shells
from nnprof.profiler.place.ssh import Link, SshShell
from nnprof.profiler.work import hosts
from nnprof.types import Cell, Plan


@pytest.fixture
def link(board: SshBoard) -> Iterator[Link]:
    """A connection to the board, with its lock."""
    made = Link(boards.find("board"))
    yield made
    made.close()


# What works


@pytest.mark.parametrize(("backend", "batches"), [("fake", "1,4"), ("onnxruntime", "1")])
def test_bench_over_ssh(board: SshBoard, tmp_path: Path, backend: str, batches: str) -> None:
    """The bundled network is measured by a worker of the board's user, and the Run says where."""
    options = ["--backend", backend, "--device", "board", "--format", "json", "--quick"]
    done = board.nnprof("bench", *options, "--batch", batches, "--ops", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert run["environment"]["host"] == "board"
    assert {cell["target"]["host"] for cell in run["measurements"]} == {"board"}
    assert {cell["target"]["device"] for cell in run["measurements"]} == {"cpu"}
    assert not run["failures"]
    sent = list(board.cache.iterdir())
    assert len(sent) == 4  # the model, its tiles, and the two graphs that do nothing
    assert {path.stat().st_uid for path in sent} == {board.home.stat().st_uid}


def test_streams_over_ssh(board: SshBoard, tmp_path: Path) -> None:
    """The streams are processes there; each keeps to a budget, and all have images done."""
    words = ["--backend", "fake", "--device", "board", "--quick", "--streams", "1,2"]
    words += ["--option", "contention=0.5", "--no-telemetry"]
    judged = board.nnprof("bench", *words, "--budget", "1s", cwd=tmp_path)
    assert judged.returncode == 0, judged.stderr
    assert "FITS: exit code 0." in judged.stdout or "FITS (2 of 2" in judged.stdout
    image = ["--image", "56x56", "--batch", "4", "--format", "json"]
    framed = board.nnprof("bench", *words, *image, cwd=tmp_path)
    assert framed.returncode == 0, framed.stderr
    run = json.loads(framed.stdout)
    assert [cell["target"]["streams"] for cell in run["measurements"]] == [1, 2]
    assert [len(cell["processes"][0]["streams"]) for cell in run["measurements"]] == [1, 2]


def test_address_without_configuration(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """ssh://user@host needs no devices.toml: the kind is asked, and its python is python3."""
    boards.file().unlink()
    board.set_python3(sys.executable)
    target = hosts.named_target(board.url, backend="fake", options={"noise": "0.01"})
    assert target == replace(cells[0].target, host=board.url, device="cpu")
    run = board.bench(cells[:2], short, tmp_path, host=board.url)
    assert [cell.stopped for cell in run.measurements] == ["processes"] * 2


@pytest.mark.parametrize(
    ("compatible", "kind"),
    [
        (b"nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0", "jetson"),
        (b"raspberrypi,5-model-b\0brcm,bcm2712\0", "pi"),
    ],
)
def test_the_board_says_what_it_is(board: SshBoard, compatible: bytes, kind: str) -> None:
    """A board says by its device tree that it is a Jetson or a Raspberry Pi, without being told."""
    tree = board.folder / "root/proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(compatible)
    board.stop()
    board.set_environment(NNPROF_ROOT=str(board.folder / "root"))
    board.start()
    made = Link(boards.from_url(board.url))
    assert made.kind == kind
    made.close()


def test_a_model_travels_once(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """A file that is there with the right sha256 stays; one that was spoiled is sent again."""
    board.bench(cells[:1], short, tmp_path)
    digest = cells[0].workload.model.sha256
    there = board.cache / f"{digest}.onnx"
    first = there.stat()
    hosts.release()
    board.bench(cells[:1], short, tmp_path)
    assert (there.stat().st_ino, there.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    there.write_bytes(b"spoiled")
    hosts.release()
    board.bench(cells[:1], short, tmp_path)
    assert there.read_bytes() == Path(cells[0].workload.model.path).read_bytes()
    assert not list(board.cache.glob("*.onnx.*"))


def test_weights_beside_a_model_travel_with_it(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """A model that keeps its weights in another file finds that file on the board, too."""
    folder = tmp_path / "large"
    folder.mkdir()
    proto = onnx.load(cells[0].workload.model.path)
    onnx.save(
        proto, folder / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0
    )
    model = load_model(folder / "m.onnx")
    cell = replace(cells[0], workload=replace(cells[0].workload, model=model))
    run = board.bench((cell,), short, tmp_path)
    assert run.measurements[0].finished
    assert [path.parent for path in board.cache.rglob("m.bin")] == [
        path.parent for path in board.cache.glob("*/*.onnx")
    ]


# The shell that runtimes without Python use


def test_shell_runs_programs(link: Link) -> None:
    """Exit code, output and input pass; no argument is read by a command interpreter."""
    nasty = "a b; $(touch x) `y` 'z' \"*\" \\ \n !1"
    done = link.shell.run(
        ["sh", "-c", 'cat; printf "%s" "$1"; exit 3', "sh", nasty], stdin=b"in ", timeout_s=20
    )
    assert (done.returncode, done.stdout.decode()) == (3, f"in {nasty}")
    assert link.shell.run(["/nowhere/program"], timeout_s=20).returncode == 127
    assert link.shell.run(["sh", "-c", "exit 255"], timeout_s=20).returncode == 255
    killed = link.shell.run(["sh", "-c", "kill -9 $$"], timeout_s=20)
    assert killed.returncode == 128 + signal.SIGKILL


def test_shell_moves_files(link: Link, tmp_path: Path) -> None:
    """A file arrives whole and comes back; one that is not there is FileNotFoundError."""
    local = tmp_path / "it's a $file"
    local.write_bytes(os.urandom(300_000))
    there = link.shell.put(local, "folder/it's a $file")
    assert there == link.shell.path("folder/it's a $file")
    assert link.shell.get(there) == local.read_bytes()
    with pytest.raises(FileNotFoundError):
        link.shell.get(link.shell.path("nothing"))


def test_shell_ends_programs_at_their_limit(board: SshBoard, link: Link) -> None:
    """A program past its time is ended at the far end, with its children."""
    script = "sleep 600 & echo started; sleep 600"
    with pytest.raises(WorkerTimeout, match="sh on board had not ended after 1 s"):
        link.shell.run(["sh", "-c", script], timeout_s=1)
    assert not [process for process in board.processes() if process.name() == "sleep"]


def test_worker_processes_find_the_shell(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of ours gets to the board through the open connection, and no other way."""
    with pytest.raises(Unavailable, match="no connection to 'board'"):
        shells.at("board")
    for name, value in shells.way_to(link.shell).items():
        monkeypatch.setenv(name, value)
    shell = shells.at("board")
    assert isinstance(shell, SshShell)
    assert shell.run(["echo", "hello"], timeout_s=20).stdout == b"hello\n"
    link.close()
    with pytest.raises(ConnectionLost):
        shell.run(["echo", "hello"], timeout_s=20)


# The cache there has a size


def test_the_least_recently_used_files_go(link: Link, board: SshBoard, tmp_path: Path) -> None:
    """What was used last stays, up to a size; folders that are empty then go, too."""
    for number, name in enumerate(("a", "folder/b", "a space", "d")):
        local = tmp_path / f"{number}"
        local.write_bytes(bytes(1000))
        link.shell.put(local, name)
        os.utime(board.cache / name, (1000 + number, 1000 + number))
    again = SshShell(link.shell.way)  # as the next bench, which has not sent anything yet
    again.put(tmp_path / "0", "a")
    link.shell.trim(2500)
    assert {path.relative_to(board.cache).as_posix() for path in board.cache.rglob("*")} == {
        "a", "d"
    }  # fmt: skip
    link.shell.trim(0)
    assert not list(board.cache.iterdir())


def test_a_bench_in_work_loses_nothing(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """The cache is trimmed when a bench begins, and not when its connection comes back."""
    toml = boards.file()
    toml.write_text(f"{toml.read_text()}cache_gb = 0\n")
    older = board.cache / "older.onnx"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"x")
    board.give_away(board.home)
    board.bench(cells[:1], short, tmp_path)
    assert not older.exists()
    sent = {path.name for path in board.cache.iterdir()}
    assert sent
    hosts.connections.drop(boards.find("board"))
    hosts.connections.to(boards.find("board"))
    assert {path.name for path in board.cache.iterdir()} == sent
