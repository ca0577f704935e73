"""One file per kind of device: its facts and readings."""
