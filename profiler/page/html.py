"""The page as one HTML file: template, style, script and the plotting library, put together.

The data is JSON that is never run: jinja2's `tojson` escapes what could end its element. The policy
lets run the two scripts of this file, by their hashes, and nothing be fetched from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import math
from importlib import resources
from typing import Any

import msgspec

from nnprof._version import __version__
from nnprof.profiler.page.values import Page

PLOTLY = "plotly-basic.min.js"  # of the npm package plotly.js-basic-dist-min
PLOTLY_VERSION = "4.1.1"
PLOTLY_SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
_DIGITS = 6  # of each number in the file


def html(page: Page) -> str:
    """The page as the text of an HTML file that needs no other."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    css, js, plotly = (_asset(name) for name in ("page.css", "page.js", PLOTLY))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": True,  # no letter of a name turns the file's own text around
        "separators": (",", ":"),
        "allow_nan": False,
    }
    return environment.from_string(_asset("page.html")).render(
        page=page,
        data=_rounded(msgspec.to_builtins(page)),
        sentences={view.key: _sentence(page, view.key) for view in page.views},
        policy=_policy(css, (plotly, js)),
        version=__version__,
        css=Markup(css),  # noqa: S704  our own files, no data
        js=Markup(js),  # noqa: S704
        plotly=Markup(plotly),  # noqa: S704
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _policy(css: str, scripts: tuple[str, ...]) -> str:
    """Nothing from outside; scripts and style of this file alone.

    The library adds an empty style element, to which it then adds its rules, and sets style
    attributes of what it draws. Browsers that know no style-src-elem read style-src.
    """
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        f"style-src-elem {_hash(css)} {_hash('')}; "
        "style-src-attr 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _sentence(page: Page, key: str) -> str:
    """What a view says of the cell that is shown first."""
    view = next(view for view in page.views if view.key == key)
    part = view.parts[page.chosen if len(view.parts) > 1 else 0]
    return part.told if part else view.lacking


def _rounded(value: Any) -> Any:
    """The same with numbers of as many digits as anybody needs; what is none is unknown."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        short = float(f"{value:.{_DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 1e15 else short
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
