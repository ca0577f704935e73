"""pip as if it ran on another machine: `python -m nnprof.profiler.setup.pip_for MARKERS ARGUMENT…`.

`pip download --platform … --python-version …` chooses wheels for another machine, but still asks
this one's environment what a package needs (`tomli; python_version < "3.11"`, the libraries of CUDA
that torch wants on x86_64): https://github.com/pypa/pip/issues/11664. So pip's own copy of
`packaging` is told the other's environment. What came of it is looked over by `wheels.closure`.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Run pip; MARKERS is the other environment as JSON (PEP 508)."""
    from pip._internal.cli.main import main as pip
    from pip._vendor.packaging import markers

    there = json.loads(sys.argv[1])
    markers.default_environment = lambda: dict(there)
    sys.exit(pip(sys.argv[2:]))


if __name__ == "__main__":
    main()
