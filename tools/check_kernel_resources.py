"""Compile every kernel for every supported GPU and fail on a warning, a register spill or a stack frame.

``python tools/check_kernel_resources.py [--verbose] [FILE.cu ...]``; no GPU is needed. A kernel that spills or indexes
local memory is slower than it looks, and nothing else would say so. Fails too where more or fewer blocks of a matrix
product fit a multiprocessor than csrc/gemm/config.h counts on.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "cmake"))
from toolkit import ToolkitError, code_flags, find_toolkit  # noqa: E402

ARCHITECTURES = ["80-real", "86-real", "89-real", "90a-real", "100-real", "120-real"]
REFERENCE = "sm_90a"  # an H200, for which the launch choice counts blocks


@dataclass(frozen=True)
class Resources:
    """What ptxas reports of one kernel on one architecture; all but registers in bytes."""

    kernel: str
    architecture: str
    registers: int
    shared: int
    stack: int
    spills: int

    def is_clean(self) -> bool:
        """Whether the kernel keeps everything in registers."""
        return self.stack == 0 and self.spills == 0


def parse_report(text: str) -> list[Resources]:
    """Read the output of ``ptxas -v``, one entry a kernel and architecture."""
    result = []
    for part in re.split(r"(?=ptxas info\s*: Compiling entry function)", text)[1:]:
        entry = re.search(r"entry function '(\w+)' for '(\w+)'", part)
        used = re.search(r"Used (\d+) registers", part)
        frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        if entry is None or used is None or frame is None:
            raise ValueError(f"cannot read this report of ptxas: {part.strip()!r}")
        shared = re.search(r"(\d+) bytes smem", part)
        stack = max([int(frame[1]), *(int(n) for n in re.findall(r"(\d+) bytes cumulative stack size", part))])
        spills = int(frame[2]) + int(frame[3])
        result.append(Resources(entry[1], entry[2], int(used[1]), int(shared[1]) if shared else 0, stack, spills))
    return result


def find_miscounts(kernels: list[Resources]) -> list[str]:
    """Return a line for each tile of which not as many blocks fit an H200's multiprocessor as the launch choice says.

    The number is in the kernels' names, in `TileShape` of gemm/tile.cuh; it is the least over the directions.
    """
    fitting: dict[tuple[int, int, int], int] = {}
    for kernel in kernels:
        shape = re.search("9TileShapeI" + r"Li(\d+)E" * 6 + "E", kernel.kernel)
        if kernel.architecture != REFERENCE or shape is None:
            continue
        m, n, warps_m, warps_n, stages, counted = map(int, shape.groups())
        # Each quarter of a multiprocessor deals its 16384 registers to whole warps, 256 at a time.
        warps = 4 * (16384 // (256 * -(-kernel.registers // 8)))
        # Lines of 128 bytes, and 1 KiB a block that the GPU keeps for itself.
        by_memory = 228 * 1024 // (128 * (m + n) * stages + 1024)
        blocks = min(warps // (warps_m * warps_n), by_memory)
        fitting[m, n, counted] = min(blocks, fitting.get((m, n, counted), blocks))
    return [
        f"{blocks} blocks of tile {m}x{n} fit a multiprocessor of {REFERENCE}, gemm/config.h counts on {counted}"
        for (m, n, counted), blocks in fitting.items()
        if blocks != counted
    ]


def find_warnings(text: str) -> list[str]:
    """Return the lines in which nvcc or ptxas warns."""
    return [line.strip() for line in text.splitlines() if re.search(r"\bwarning\b", line, re.IGNORECASE)]


def compile_kernels(nvcc: str, source: Path) -> tuple[int, str]:
    """Compile one file for all of `ARCHITECTURES`; returns nvcc's exit status and what it printed."""
    command = [nvcc, "-std=c++17", "-O3", f"-I{ROOT / 'csrc'}", "-Xptxas=-v", "--fatbin", "-o", os.devnull]
    done = subprocess.run(
        [*command, *code_flags(ARCHITECTURES), str(source)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


def demangle(names: list[str]) -> list[str]:
    """Return readable kernel names where c++filt is installed, else the names as they are."""
    try:
        done = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return names
    return done.stdout.splitlines()


def check_file(nvcc: str, source: Path, verbose: bool) -> tuple[str, bool]:
    """Return what to print of one file, and whether it passes."""
    status, text = compile_kernels(nvcc, source)
    name = source.relative_to(ROOT) if source.is_relative_to(ROOT) else source
    if status != 0:
        return f"{name}: does not compile\n{text}", False
    kernels, warnings = parse_report(text), find_warnings(text)
    shown = [kernel for kernel in kernels if verbose or not kernel.is_clean()]
    miscounts = find_miscounts(kernels)
    lines = [f"  {complaint}" for complaint in (*warnings, *miscounts)]
    for kernel, readable in zip(shown, demangle([kernel.kernel for kernel in shown]), strict=True):
        lines.append(
            f"  {kernel.architecture}: {kernel.registers} registers, {kernel.shared} B shared, {kernel.stack} B stack, "
            f"{kernel.spills} B spilled: {readable}"
        )
    # linear.cu has no kernel of its own: what must be there is a report.
    clean = not warnings and not miscounts and all(kernel.is_clean() for kernel in kernels)
    passed = "ptxas info" in text and clean
    most = max((kernel.registers for kernel in kernels), default=0)
    verdict = "ok" if passed else "FAILED"
    return "\n".join([f"{name}: {verdict}, {len(kernels)} kernels, at most {most} registers", *lines]), passed


def main() -> int:
    """Check the given files, or all of csrc/ops, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--verbose", action="store_true", help="print every kernel")
    arguments = parser.parse_args()
    try:
        nvcc = find_toolkit(os.environ).nvcc
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return 1
    files = [file.resolve() for file in arguments.files] or sorted((ROOT / "csrc" / "ops").glob("*.cu"))
    start = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda file: check_file(nvcc, file, arguments.verbose), files))
    for text, _ in results:
        print(text)
    failed = sum(not passed for _, passed in results)
    print(f"{len(results) - failed} of {len(results)} files pass, {time.monotonic() - start:.0f} s")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
