"""What a page of the documents tells a reader to type: `nnprof` commands in its blocks of shell."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

BASH = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def calls(block: str) -> list[list[str]]:
    """The arguments of each nnprof command in a block of shell."""
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        for command in re.split(r"&&|\|\||[;|]", line):
            words = shlex.split(command, comments=True)
            while words and "=" in words[0]:  # VARIABLE=value before the command
                del words[0]
            if words and Path(words[0]).name == "nnprof":
                found.append(words[1:])
            elif words[1:3] == ["-m", "nnprof"]:
                found.append(words[3:])
    return found


def unknown(arguments: list[str]) -> list[str]:
    """Those words of a call that `nnprof` does not know: subcommand and options."""
    import typer.main

    from nnprof.cli.main import app

    command: Any = typer.main.get_command(app)
    wrong = []
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in command.commands:
            return [arguments[0]]
        command = command.commands[arguments[0]]
    options = {"-h", "--help"}
    for parameter in command.params:
        options.update(parameter.opts, parameter.secondary_opts)
    wrong += [
        word
        for word in arguments
        if re.match(r"--?[a-zA-Z]", word) and word.split("=")[0] not in options
    ]
    return wrong
