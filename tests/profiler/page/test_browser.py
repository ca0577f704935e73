"""The page in a real browser: it is drawn, sorted and folded, and asks nobody for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser

SORTED = "return [...document.querySelectorAll('#ops tbody tr')].map(r => r.cells[3].textContent)"


def test_no_complaint_and_no_request(chromium: Browser, pages: dict[str, Path]) -> None:
    """Opened with all views, in light and in dark, wide and narrow, the console stays empty."""
    for width, dark in ((1280, False), (390, True)):
        chromium.open(pages["group1"], width=width, dark=dark)
        unfold(chromium)
        assert chromium.ask("return document.querySelectorAll('.plot .main-svg').length") >= 3
        assert chromium.ask("return document.documentElement.scrollWidth") <= width
        assert chromium.complaints() == []
        assert [one for one in chromium.requests() if not one.startswith("file:")] == []


SHOWN = """
    const inside = (one, other) => one.bottom <= other.top + 1 || one.top >= other.bottom - 1;
    return [...document.querySelectorAll('figure')].filter((figure) => {
        const plot = figure.querySelector('.plot .main-svg');
        const numbers = figure.querySelector('details');
        return !plot || !inside(plot.getBoundingClientRect(), numbers.getBoundingClientRect());
    }).map((figure) => figure.closest('section').id);
"""
ROOM = """
    return [...document.querySelectorAll('.plot')].map((plot) => {
        const inner = plot.querySelector('.nsewdrag').getBoundingClientRect();
        return inner.height / plot.getBoundingClientRect().height;
    });
"""


@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)]
)
def test_streams_and_pauses_are_drawn(
    chromium: Browser, busy: Path, width: int, dark: bool
) -> None:
    """With a line for each number of streams a plot keeps its room, and no table lies on it."""
    chromium.open(busy, width=width, dark=dark)
    unfold(chromium)
    assert chromium.ask("return document.documentElement.scrollWidth") <= width
    assert min(chromium.ask(ROOM)) > 0.35
    chromium.ask("document.querySelectorAll('details.numbers').forEach(d => { d.open = true; })")
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(chromium.driver, 20).until(lambda _: chromium.ask(SHOWN) == [])
    assert chromium.complaints() == []


def unfold(chromium: Browser) -> None:
    """Open all that is folded, and let the page draw it."""
    chromium.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "document.querySelectorAll('section > details').forEach(d => { d.open = true; });"
        "setTimeout(() => requestAnimationFrame(done), 0);"
    )


def test_four_views_are_above_the_fold(chromium: Browser, pages: dict[str, Path]) -> None:
    """On a laptop of 1280×800 the verdict, the latency, the waterfall and the ops are in sight."""
    chromium.open(pages["group1"])
    for key in ("verdict", "latency", "waterfall", "ops"):
        bottom = chromium.ask(
            f"return document.getElementById('{key}').getBoundingClientRect().bottom"
        )
        assert bottom <= 800, key


def test_a_table_is_sorted_by_its_headings(chromium: Browser, pages: dict[str, Path]) -> None:
    """Enter sorts by a column, once more the other way round, and aria-sort says so."""
    chromium.open(pages["group1"])
    heading = chromium.ask("return document.querySelectorAll('#ops thead button')[3]")
    for direction, backwards in (("descending", True), ("ascending", False)):
        heading.send_keys("\n")
        found = [float(text) for text in chromium.ask(SORTED)]
        assert found == sorted(found, reverse=backwards)
        told = chromium.ask(
            "return [...document.querySelectorAll('#ops thead th')].map(h => h.ariaSort)"
        )
        assert told[3] == direction
        assert set(told[:3]) == {"none"}


def test_another_cell_is_chosen(chromium: Browser, pages: dict[str, Path]) -> None:
    """The list of cells changes the card, the waterfall and the ops, and nothing else."""
    chromium.open(pages["group1"])
    told = (
        "return Object.fromEntries([...document.querySelectorAll('main section')]"
        ".filter(s => s.querySelector('.told'))"
        ".map(s => [s.id, s.querySelector('.told').textContent]))"
    )
    before = chromium.ask(told)
    chromium.ask(
        "const list = document.getElementById('cell'); list.value = '34';"
        "list.dispatchEvent(new Event('change'))"
    )
    after = chromium.ask(told)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"verdict", "waterfall", "ops", "progression", "distribution"}
    assert {"latency", "throughput", "grids", "provenance"} <= set(before)


def test_numbers_are_folded(chromium: Browser, pages: dict[str, Path]) -> None:
    """The numbers of a figure are a table of their own, made when it is opened."""
    chromium.open(pages["group1"])
    count = "return document.querySelectorAll('#latency table tbody tr').length"
    assert chromium.ask(count) == 0
    chromium.driver.execute_async_script(
        "const done = arguments[0]; const d = document.querySelector('#latency .numbers');"
        "d.addEventListener('toggle', () => setTimeout(done, 0)); d.open = true;"
    )
    assert chromium.ask(count) == 35


def test_hostile_names_are_text(chromium: Browser, pages: dict[str, Path]) -> None:
    """Nothing in a name runs, or becomes an element: it is read as it is written."""
    chromium.open(pages["hostile"])
    unfold(chromium)
    assert chromium.ask("return window.hurt") is None
    assert chromium.ask("return document.querySelectorAll('img, main b').length") == 0
    assert "onerror=window.hurt" in chromium.ask(
        "return document.querySelector('#ops').textContent"
    )
    assert chromium.complaints() == []


@pytest.mark.parametrize("key", ["verdict", "latency", "waterfall", "ops", "throughput"])
def test_a_screen_reader_is_told(chromium: Browser, pages: dict[str, Path], key: str) -> None:
    """Each view is a landmark with a heading; each figure in it has a sentence for its data."""
    chromium.open(pages["group1"])
    unfold(chromium)
    nodes = chromium.tell("Accessibility.getFullAXTree")["nodes"]
    heading = chromium.ask(f"return document.querySelector('#{key} h2').textContent")
    regions = [one["name"]["value"] for one in nodes if one["role"]["value"] == "region"]
    assert heading in regions
    plots = chromium.ask(
        f"return [...document.querySelectorAll('#{key} .plot')].map(p => p.ariaLabel || '')"
    )
    assert all(any(letter.isdigit() for letter in told) for told in plots)


def test_print_shows_all(chromium: Browser, pages: dict[str, Path]) -> None:
    """On paper all views are unfolded, on white; afterwards they are as they were."""
    chromium.open(pages["group1"], dark=True)
    chromium.ask(
        "addEventListener('beforeprint', () => { window.seen = ["
        "document.querySelectorAll('section > details[open]').length,"
        "getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()] })"
    )
    chromium.tell("Page.printToPDF")
    folded = chromium.ask("return document.querySelectorAll('section > details').length")
    assert chromium.ask("return window.seen") == [folded, "#f5f6f7"]
    assert chromium.ask("return document.querySelectorAll('section > details[open]').length") == 0
