"""The events of a Chrome trace. Begin and end are whole nanoseconds, so that slices nest."""

from __future__ import annotations

from typing import Any

from nnprof.text import plain

Event = dict[str, Any]


def meta(what: str, pid: int, tid: int, value: str | int) -> Event:
    """The name of a process or thread, or its place in the order."""
    key = "name" if isinstance(value, str) else "sort_index"
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": {key: value}}


def piece(track: tuple[int, int], name: str, begin_s: float, end_s: float, args: Event) -> Event:
    """A slice of a track (process, thread) from one time to another."""
    begin, end = round(begin_s * 1e9), round(end_s * 1e9)
    return {
        **{"ph": "X", "cat": "nnprof", "name": plain(name) or "?", "pid": track[0]},
        **{"tid": track[1], "ts": begin / 1e3, "dur": (end - begin) / 1e3, "args": args},
    }


def mark(track: tuple[int, int], name: str, at_s: float, args: Event) -> Event:
    """Something without a length."""
    return {
        **{"ph": "i", "s": "t", "cat": "nnprof", "name": plain(name) or "?", "pid": track[0]},
        **{"tid": track[1], "ts": round(at_s * 1e9) / 1e3, "args": args},
    }


def counter(pid: int, name: str, at_s: float, value: float) -> Event:
    """A value at a moment, under its name."""
    text = plain(name)
    return {
        **{"ph": "C", "name": text, "pid": pid, "tid": 0, "ts": round(at_s * 1e9) / 1e3},
        "args": {text: value},
    }


def known(args: Event) -> Event:
    """Without what is not known; text on one line."""
    return {
        name: plain(value) if isinstance(value, str) else value
        for name, value in args.items()
        if value is not None
    }
