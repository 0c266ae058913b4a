"""Every backend of the kernels gives the reference's bits, on shapes and numbers that are meant to be awkward."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from nas_edge.mcu.boards import load_board
from nas_edge.mcu.codegen.host import SANITIZERS, WARNINGS
from nas_edge.mcu.emulator import count_firmware
from nas_edge.mcu.firmware import build_firmware
from nas_edge.mcu.toolchain import missing_tools, run_tool
from nas_edge.memory import LayerKind
from tests.emulated import needs_emulator
from tests.mcu.kernel_cases import Case, random_cases, write_program

COMPILERS = {
    "gcc": ("-O1", *SANITIZERS),
    # Debian's clang comes without the libraries of its sanitizers; traps need none.
    "clang": ("-O2", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"),
}
BOARDS = ("mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")


def wrong_on_host(folder: Path, cases: list[Case], compiler: str, flags: tuple[str, ...]) -> list[str]:
    write_program(folder, cases)
    sources = sorted(path.name for path in folder.glob("*.c"))
    done = run_tool(compiler, [*WARNINGS, *flags, *sources, "-o", "program"], folder)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([folder / "program"], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return described(cases, [int(line) for line in ran.stdout.split()])


def wrong_on_board(folder: Path, cases: list[Case], name: str) -> list[str]:
    board = load_board(name)
    firmware = build_firmware(board, write_program(folder / "network", cases), folder / "firmware", stack_bytes=4096)
    size = -(-len(cases) // 4) * 4
    run = count_firmware(firmware, np.zeros((1, 4), np.int8), size)
    return described(cases, run.outputs[0, : len(cases)].tolist())


def described(cases: list[Case], results: list[int]) -> list[str]:
    assert len(results) == len(cases)
    words = {1: "wrong", 2: "guard overwritten"}
    return [
        f"{words[r]}: overlap {case.overlap}, {case.item.layer}, {case.item.requantise}"
        for r, case in zip(results, cases, strict=True)
        if r
    ]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_plain_kernels_give_the_references_bits_and_break_no_rule_of_c(compiler: str, tmp_path: Path) -> None:
    if missing_tools(compiler):
        pytest.skip(f"{compiler} is not installed")
    assert not wrong_on_host(tmp_path, random_cases(1, 60), compiler, COMPILERS[compiler])


def test_a_wrong_kernel_would_be_found(tmp_path: Path) -> None:
    cases = random_cases(2, 30)
    write_program(tmp_path, cases)
    path = tmp_path / "nas_elementwise.c"
    text = path.read_text(encoding="utf-8")
    assert "bias = to->bias[0]" in text
    path.write_text(text.replace("bias = to->bias[0]", "bias = to->bias[0] + 999"), encoding="utf-8")
    done = run_tool("gcc", ["-std=c99", *sorted(p.name for p in tmp_path.glob("*.c")), "-o", "program"], tmp_path)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True, timeout=60)
    kinds = {case.item.layer.kind for case, r in zip(cases, ran.stdout.split(), strict=True) if r != "0"}
    assert kinds == {LayerKind.POOL}


def emulated(test):
    for mark in needs_emulator:
        test = mark(test)
    return test


@emulated
@pytest.mark.parametrize("name", ["mps2-an386", "mps3-an547"])  # a core of each backend; the others are slow tests
def test_each_backend_gives_the_references_bits(name: str, tmp_path: Path) -> None:
    assert not wrong_on_board(tmp_path, random_cases(3, 48), name)


@emulated
@pytest.mark.slow
@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("seed", range(10, 15))
def test_each_core_gives_the_references_bits_on_many_shapes(name: str, seed: int, tmp_path: Path) -> None:
    assert not wrong_on_board(tmp_path, random_cases(seed, 90), name)
