"""`python -m nnprof` is the `nnprof` command."""

from nnprof.cli.main import main

if __name__ == "__main__":
    main()
