"""What is out, what is due, and what is taken of a Run that several boards share."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.errors import BadFile, ConnectionLost, UsageError
from nnprof.profiler import results, stats
from nnprof.profiler.fleet import cluster, sweep
from nnprof.profiler.fleet.kinds import Kind, Member
from nnprof.profiler.fleet.orders import Delivery, Order
from nnprof.profiler.place import boards
from nnprof.profiler.report import notes
from nnprof.profiler.run import begin
from nnprof.profiler.work import worker
from nnprof.profiler.work.jobs import Fault, Measured
from nnprof.types import Cell, Plan, Target

pytestmark = pytest.mark.usefixtures("workers_here")


@pytest.fixture
def front(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> sweep._Front:
    """Four cells with three processes each, for two boards."""
    run, path = begin.start(cells, replace(short, op_method="none"), tmp_path, name="test")
    run = replace(run, environment={**run.environment, "boards": ["one", "two"]})
    return sweep._Front(run, path, "0")


def _done(order: Order, board: str = "one") -> Delivery:
    answer = worker.do(order.job, lambda _: None)
    assert isinstance(answer, Measured | Fault)
    return Delivery(
        key=order.key, number=order.number, board=board, begun_at_s=1.0, wall_s=0.1,
        patience_s=0.0, others=None, answer=answer,
    )  # fmt: skip


def _slower(delivery: Delivery, times: float) -> Delivery:
    """An answer of a board that takes so many times as long."""
    assert isinstance(delivery.answer, Measured)
    samples_s = tuple(times * one for one in delivery.answer.samples_s)
    return replace(delivery, answer=replace(delivery.answer, samples_s=samples_s))


def _orders(front: sweep._Front) -> Iterator[Order]:
    return (order for _, order in front.orders())


def test_each_process_is_taken_once_in_whatever_order(front: sweep._Front) -> None:
    """Answers that come in any order, twice or late end as three processes of each cell."""
    chance, out = random.Random(1), list[Order]()  # noqa: S311
    late: list[Delivery] = []
    while True:
        out += _orders(front)
        if not out:
            break
        order = out.pop(chance.randrange(len(out)))
        delivery = _done(order, chance.choice(("one", "two")))
        assert front.take(order.key, delivery)
        assert not front.take(order.key, delivery)
        late.append(delivery)
        assert len(out) <= 4
    assert not any(front.take(one.key, one) for one in late)
    front.save()
    run = results.load(front.path)
    assert [len(cell.processes) for cell in run.measurements] == [3] * 4
    assert all([one.round for one in cell.processes] == [0, 1, 2] for cell in run.measurements)
    assert {one.board for cell in run.measurements for one in cell.processes} == {"one", "two"}
    assert all(cell.stopped == "processes" for cell in run.measurements)


@pytest.mark.parametrize("times", [1.0, 1.05])
def test_a_slower_twin_is_told_and_intervals_hold_it(front: sweep._Front, times: float) -> None:
    """A check in each cell where one board takes 5 % longer, and none where it does not.

    The interval of a cell holds both boards; of one that a single board measured as well.
    """
    alone = front._run.study.cells[0].key
    while out := list(_orders(front)):
        for order in out:
            second = order.key != alone and order.number == 1
            delivery = _done(order, "two" if second else "one")
            front.take(order.key, _slower(delivery, times) if second else delivery)
    front.save()
    run = results.load(front.path)
    codes = [[check.code for check in cell.checks] for cell in run.measurements]
    if times == 1.0:
        assert not any({"boards_differ", "one_board"} & set(own) for own in codes)
        return
    assert all("boards_differ" in own for own in codes)
    assert ["one_board" in own for own in codes] == [True, False, False, False]
    for cell in run.measurements:
        level_s = stats.latency_s(cell)
        low, high = stats.interval_s(cell) or (0.0, 0.0)
        assert low <= level_s <= times * level_s <= high * 1.0001
        assert high < 1.2 * low
    (note,) = (line for line in notes.note_lines(run) if "not as fast" in line)
    assert "two takes 4.8% longer than one" in note  # the fake's processes differ a little


def test_an_answer_with_another_number_is_not_taken(front: sweep._Front) -> None:
    """The first process of a cell is no answer to the order of its second."""
    first = next(_orders(front))
    delivery = _done(first)
    assert front.take(first.key, delivery)
    again = {order.key: order for order in _orders(front)}
    while first.key not in again:
        for order in list(again.values()):
            front.take(order.key, _done(order))
        again = {order.key: order for order in _orders(front)}
    assert again[first.key].number == 1
    assert not front.take(first.key, delivery)


def test_a_cell_that_costs_boards_fails_and_the_others_go_on(front: sweep._Front) -> None:
    """What nobody could do is a Failure with the reason; the rest is measured."""
    order = next(_orders(front))
    assert front.take(order.key, ConnectionLost("Each board was lost.", "Look at them."))
    front.save()
    run = results.load(front.path)
    assert [one.reason for one in run.failures] == ["Each board was lost."]
    assert order.key not in {one.key for one in _orders(front)}


def test_without_any_board_all_that_is_left_fails_at_once(front: sweep._Front) -> None:
    """No cell waits for boards that another one has waited for in vain."""
    order = next(_orders(front))
    assert front.take(order.key, cluster.Gone("No board came back."))
    front.save()
    assert len(results.load(front.path).failures) == 4
    assert not list(front.orders())


def _kind(*names: str, target: Target) -> Kind:
    members = (Member(name=name, target=target, environment={}) for name in names)
    return Kind(name=f"{boards.KIND}x-1" if names[1:] else names[0], members=tuple(members))


def test_a_run_stands_under_the_name_of_its_kind(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Boards that are alike have one Run, with their names in it; one board has its own."""
    kinds = _kind("a", "b", target=cells[0].target), _kind("c", target=cells[0].target)
    found = sweep.start([(kind, cells) for kind in kinds], short, tmp_path)
    (shared, path), (single, other) = found
    assert {cell.target.host for cell in shared.study.cells} == {"fleet:x-1"}
    assert shared.environment["boards"] == ["a", "b"]
    assert "boards" not in single.environment
    assert [results.load(one) for one in (path, other)] == [shared, single]
    assert path.name.startswith("bench-x-1-")


def test_runs_are_started_all_or_none(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> None:
    """Where one kind refuses the model, no file is left of the others."""
    refusing = replace(cells[0].target, options={"fault": "error"})
    asked = [
        (_kind("a", "b", target=cells[0].target), cells),
        (_kind("c", target=refusing), [replace(one, target=refusing) for one in cells]),
    ]
    with pytest.raises(BadFile, match="refuses"):
        sweep.start(asked, short, tmp_path)
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.parametrize("plan", [{"protocol": "loop"}, {"budget_s": 9.0}, {"sustained_s": 9.0}])
def test_plans_for_one_machine_are_refused(short: Plan, plan: dict[str, object]) -> None:
    """Loops, budgets and work without a rest mean nothing on several boards."""
    with pytest.raises(UsageError, match="Several boards share cells"):
        sweep.start([], replace(short, **plan))


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("tls://10.0.0.7:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://10.0.0.7:8786", True),
        ("10.0.0.7:8786", True),
        ("ws://10.0.0.7:8786", True),
    ],
)
def test_nothing_is_sent_in_the_clear(address: str, refused: bool) -> None:
    """A scheduler elsewhere has to speak TLS."""
    if refused:
        with pytest.raises(UsageError, match="has no TLS"):
            cluster.require_private(address)
    else:
        cluster.require_private(address)


@pytest.mark.parametrize("address", [None, "tls://127.0.0.2:8786", "tcp://localhost:8786"])
def test_for_a_scheduler_here_workers_listen_here_alone(address: str | None) -> None:
    """Nobody else gets to them."""
    pytest.importorskip("distributed", reason="needs the extra fleet")
    assert cluster.reached_at(address) == "127.0.0.1"


def test_for_a_scheduler_elsewhere_workers_listen_on_the_way_to_it() -> None:
    """A scheduler connects to the workers, which 127.0.0.1 would keep it from."""
    pytest.importorskip("distributed", reason="needs the extra fleet")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 8786))  # of RFC 5737: nothing is sent
        except OSError:
            pytest.skip("needs a way to another machine")
        assert cluster.reached_at("tls://192.0.2.1:8786") == way.getsockname()[0]
