"""What `make docs` adds to the pages of this folder: README and its like, commands, the API.

A hook of mkdocs (`hooks` in mkdocs.yml). Pages keep their places in the repository, so that the
same links lead somewhere here and in the repository; a file that a page links to comes with it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import nnprof
from nnprof.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """All pages under their paths from the root, with what they link to and what is generated."""
    others = [file for file in files if file.src_dir != config.docs_dir]  # of the theme
    found: dict[str, None] = {}
    waiting = [*PAGES, *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += _linked(name)
    made = {"docs/commands.md": _commands(), "docs/reference.md": _reference()}
    return Files(
        [
            *others,
            *(File(name, str(ROOT), config.site_dir, config.use_directory_urls) for name in found),
            *(File.generated(config, name, content=text) for name, text in made.items()),
        ]
    )


def _linked(name: str) -> Iterator[str]:
    """The files of the repository that a page links to."""
    path = ROOT / name
    for link in _LINK.findall(path.read_text(encoding="utf-8")) if name.endswith(".md") else ():
        target = (path.parent / link).resolve()
        if target.is_file() and target.is_relative_to(ROOT):
            yield target.relative_to(ROOT).as_posix()


def _commands() -> str:
    """Each command's own help."""
    group = typer.main.get_command(app)
    parts = [
        "# Commands",
        "What `nnprof COMMAND --help` says, of the version that these pages are of.",
    ]
    with group.make_context("nnprof", [], resilient_parsing=True) as root:
        for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
            with command.make_context(name, [], parent=root, resilient_parsing=True) as context:
                parts += _help(context)
    return "\n\n".join(parts) + "\n"


def _help(context: Any) -> Iterator[str]:
    command = context.command
    yield f"## {context.info_name}"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```"
    for paragraph in (command.help or "").replace("\b", "").split("\n\n"):
        yield _escaped(paragraph)
    records = [param.get_help_record(context) for param in command.get_params(context)]
    rows = [f"| `{one[0]}` | {_escaped(one[1])} |" for one in records if one]
    yield "\n".join(["| argument or option | |", "| --- | --- |", *rows])


def _escaped(text: str) -> str:
    """Text on one line in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _reference() -> str:
    """The docstring of each public name."""
    parts = ["# Reference", "Every public name; [From Python](api.md) shows them at work."]
    for name in sorted(nnprof.__all__, key=str.lower):
        module, _, attribute = nnprof._HOMES.get(name, "").partition(":")
        if module:
            import_module(module)
            options = f"    options: {{heading: nnprof.{name}, toc_label: {name}}}"
            parts.append(f"::: {module}.{attribute or name}\n{options}")
    return "\n\n".join(parts) + "\n"
