"""The table of docs/ladder.md: what a compiler makes of each rung of examples/ladder, and what a GPU made of it.

``python tools/ladder_table.py [--check]``; no GPU is needed. Registers and shared memory are ptxas's for sm_90,
instructions are counted in the machine code: nvcc and cuobjdump (``pip install nvidia-cuda-cuobjdump
nvidia-cuda-nvdisasm`` beside nvcc's wheels). Times are those of the newest benchmarks/results/ladder-*.txt, which is
what ``./ladder 128 27`` printed on a GPU. ``--check``: fail where the page says something else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import check_kernel_resources as resources
from toolkit import ToolkitError, find_toolkit

ROOT = Path(__file__).resolve().parents[1]
PAGE, PROGRAM = ROOT / "docs" / "ladder.md", ROOT / "examples" / "ladder" / "ladder.cu"
BEGIN, END = "<!-- ladder:begin -->", "<!-- ladder:end -->"
# Name, namespace, and over how many rows and columns of the product a number from global memory is used.
RUNGS = (
    ("1 naive", "naive", 1, 1),
    ("2 coalesced", "coalesced", 1, 1),
    ("3 shared tile", "shared_tile", 32, 32),
    ("4 register tile", "register_tile", 128, 128),
    ("5 tensor cores", "tensor_cores", 64, 64),
    ("6 pipeline", "pipeline", 128, 128),
    ("7 split-K", "split_k", 128, 128),
    ("8 fused", "fused", 128, 128),
)
PRODUCTS = 128 * 27 * 27 * 256 * 1200  # multiply-adds at batch 128


def compiled(nvcc: str, cuobjdump: str) -> dict[str, tuple[int, int, int, int]]:
    """Of each rung's kernel, by namespace: registers, bytes of static shared memory, instructions, products."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "ladder.cubin"
        command = [nvcc, "-std=c++17", "-O3", "-arch=sm_90", f"-I{ROOT / 'csrc'}", "-Xptxas=-v", "-cubin", str(PROGRAM)]
        done = subprocess.run([*command, "-o", str(cubin)], capture_output=True, text=True, check=True)
        sass = subprocess.run([cuobjdump, "-sass", str(cubin)], capture_output=True, text=True, check=True).stdout
    code = {part.split("\n", 1)[0].strip(): part for part in sass.split("Function : ")[1:]}
    found = {}
    for kernel in resources.parse_report(done.stdout + done.stderr):
        if kernel.kernel.endswith("reduce_kernelE8Operands7Problem"):
            continue
        space = re.match(r"_ZN(\d+)(\w+)", kernel.kernel)
        assert space is not None
        instructions = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", code[kernel.kernel])
        products = sum(name.startswith(("FFMA", "HMMA")) for name in instructions)
        counts = (len(instructions) - instructions.count("NOP"), products)
        found[space[2][: int(space[1])]] = (kernel.registers, kernel.shared, *counts)
    return found


def measured() -> tuple[str, dict[str, str]]:
    """Name of the newest result and the time of each rung; nothing where no GPU has run them."""
    files = sorted((ROOT / "benchmarks" / "results").glob("ladder-*.txt"), key=lambda path: path.stem[-10:])
    if not files:
        return "", {}
    times = re.findall(r"^(\d [\w -]+?) +right +([\d.]+) us", files[-1].read_text(encoding="utf-8"), re.M)
    return files[-1].name, dict(times)


def table(kernels: dict[str, tuple[int, int, int, int]]) -> str:
    """What stands between the markers."""
    source, times = measured()
    lines = [
        "| rung | GB asked of global memory | registers | shared memory, bytes | instructions, of them products | µs |",
        "|---|---|---|---|---|---|",
    ]
    for name, space, rows, columns in RUNGS:
        asked = 2 * PRODUCTS * (1 / rows + 1 / columns) / 1e9
        registers, shared, instructions, products = kernels[space]
        shared = shared or (98304 if rows == 128 else 0)
        lines.append(
            f"| {name} | {asked:.1f} | {registers} | {shared:,} | {instructions}, {products} | {times.get(name, '-')} |"
        )
    where = f"`benchmarks/results/{source}`" if source else "none"
    return "\n".join([*lines, "", f"Batch 128: {2 * PRODUCTS / 1e9:.1f} GFLOP, compiled for sm_90. Times: {where}."])


def main() -> int:
    """Write the table, or check that it is there; the exit code."""
    try:
        nvcc = find_toolkit(os.environ).nvcc
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return 1
    beside = Path(nvcc).resolve().with_name("cuobjdump")
    cuobjdump = str(beside) if beside.exists() else shutil.which("cuobjdump")
    if cuobjdump is None:
        print("no cuobjdump: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm", file=sys.stderr)
        return 1
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    new = f"{head}{BEGIN}\n{table(compiled(nvcc, cuobjdump))}\n{END}{rest.partition(END)[2]}"
    if "--check" in sys.argv[1:]:
        print(f"{PAGE.name} is {'current' if new == text else 'out of date: python tools/ladder_table.py'}")
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
