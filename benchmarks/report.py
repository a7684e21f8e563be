"""README's table and the pictures from a result of run_all.py.

python benchmarks/report.py benchmarks/results/FILE.json   write README's table and docs/images/benchmark_*.png
python benchmarks/report.py                                of the newest result, or that there is none yet
python benchmarks/report.py --check                        exit with 1 where README's table is not that
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, the folder of the script is there, not the one above it
    sys.path.insert(0, str(ROOT))

from alexnet_cuda.base.files import atomic_path  # noqa: E402
from benchmarks.harness import figures, results, table  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(description="Render the benchmark table of README and its pictures.")
    parser.add_argument("file", nargs="?", type=Path, help="a result; the newest in benchmarks/results by default")
    parser.add_argument("--check", action="store_true", help="only say whether README is current")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images", help="folder of the pictures")
    options = parser.parse_args(arguments)
    path = options.file or table.newest(ROOT / "benchmarks" / "results")
    result = results.read(path) if path else None
    text = options.readme.read_text("utf-8")
    wanted = table.between(text, table.render(result, _shown(path)))
    if options.check:
        if text != wanted:
            print(f"{options.readme} is not current: run python benchmarks/report.py", file=sys.stderr)
        return int(text != wanted)
    with atomic_path(options.readme) as temporary:
        temporary.write_text(wanted, "utf-8")
    if result is not None:
        for picture in figures.draw(result, options.images):
            print(picture)
    return 0


def _shown(path: Path | None) -> str:
    """The path as README names it."""
    if path is None:
        return ""
    absolute = path.resolve()
    return absolute.relative_to(ROOT).as_posix() if absolute.is_relative_to(ROOT) else path.name


if __name__ == "__main__":
    sys.exit(main())
