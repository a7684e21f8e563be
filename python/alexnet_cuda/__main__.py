"""The ``alexnet-cuda`` command, also as ``python -m alexnet_cuda``; it loads the rest where a Ctrl-C is caught."""

import sys


def main() -> int:
    """Run the command and give its exit code; see `alexnet_cuda.cli.main`."""
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
