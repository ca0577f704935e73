"""A real Chromium without a window, for tests of pages; what is not installed is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
_LOGS = {"browser": "ALL", "performance": "ALL"}
_WIDE, _HIGH = 1280, 800


class Browser:
    """A browser with one page, and what a test asks of it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = _WIDE, dark: bool = False) -> None:
        """Open a file at a width, in light or in dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=_HIGH, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.complaints()
        self.requests()
        self.driver.get(path.as_uri())

    def tell(self, command: str, **given: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.driver.execute_cdp_cmd(command, given)

    def ask(self, script: str, *given: Any) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *given)

    def complaints(self) -> list[str]:
        """What stands in the console since it was last read."""
        return [line["message"] for line in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since they were last read."""
        told = [
            json.loads(line["message"])["message"] for line in self.driver.get_log("performance")
        ]
        return [
            one["params"]["request"]["url"]
            for one in told
            if one["method"] == "Network.requestWillBeSent"
        ]


@contextmanager
def started() -> Iterator[Browser]:
    """A browser, ended afterwards; the test skips where there is none."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    driver_program = shutil.which("chromedriver")
    if not program or not driver_program:
        pytest.skip("no Chromium with its driver: apt install chromium chromium-driver")
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="no selenium: pip install selenium"
    )
    options = webdriver.ChromeOptions()
    for flag in _FLAGS:
        options.add_argument(flag)
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", _LOGS)
    service = webdriver.ChromeService(driver_program)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
