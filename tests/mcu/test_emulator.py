"""Firmware runs in the emulator on every board; what it executes is counted, exactly and the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import DeviceError, ExportError, MeasurementError
from nas_edge.mcu import toolchain
from nas_edge.mcu.boards import board_names, load_board
from nas_edge.mcu.emulator import Method, best_method, count_firmware
from nas_edge.mcu.emulator import counting as counting_module
from nas_edge.mcu.emulator.counting import SELF_TEST_DIFFERENCE, self_test
from nas_edge.mcu.emulator.disassembly import InstructionClass, classify
from nas_edge.mcu.emulator.qemu import qemu_version
from nas_edge.mcu.firmware import Firmware, build_firmware
from nas_edge.mcu.plugin import plugin_library
from tests.emulated import needs_emulator, write_program

EMULATED = tuple(name for name in board_names() if load_board(name).emulated)
IMAGES = np.random.default_rng(0).integers(-128, 128, (2, 64)).astype(np.int8)


def emulated(test):
    for mark in needs_emulator:
        test = mark(test)
    return test


def expected(image: np.ndarray) -> list[int]:
    total = int(image.astype(int).sum())
    sums = [total * n * (n + 1) // 2 for n in (100, 10, 1)]
    return [*(int(np.int64(s).astype(np.int8)) for s in sums), int(image[0])]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_program(tmp_path_factory.mktemp("program"))


def built(program: Path, out: Path, name: str = "stm32f405", **options: object) -> Firmware:
    return build_firmware(load_board(name), program, out, **options)  # type: ignore[arg-type]


@emulated
@pytest.mark.parametrize("name", EMULATED)
def test_firmware_runs_on_every_emulated_board_and_both_ways_of_counting_agree(
    name: str, program: Path, tmp_path: Path
) -> None:
    firmware = built(program, tmp_path, name)
    by_timer = count_firmware(firmware, IMAGES, 4, Method.TIMER)
    assert by_timer.outputs.tolist() == [expected(image) for image in IMAGES]
    assert 0 < by_timer.stack_bytes <= firmware.stack_bytes
    many, some, few = (layer.instructions for layer in by_timer.layers)
    assert many > 9 * some > 60 * few > 0
    if best_method() is Method.PLUGIN:
        by_plugin = count_firmware(firmware, IMAGES, 4, Method.PLUGIN)
        for one, other in zip(by_plugin.layers, by_timer.layers, strict=True):
            assert abs(one.instructions - other.instructions) <= 2
            assert sum(one.classes.values()) == one.instructions
            assert one.cycles is not None
            assert one.cycles > one.instructions


@emulated
def test_repeats_are_identical_to_the_last_digit(program: Path, tmp_path: Path) -> None:
    firmware = built(program, tmp_path)
    first, second = (count_firmware(firmware, IMAGES, 4) for _ in range(2))
    assert first.to_json() == second.to_json()
    rebuilt = count_firmware(built(program, tmp_path / "again"), IMAGES, 4)
    assert rebuilt.to_json() == first.to_json()


@emulated
def test_what_counts_passes_its_self_test() -> None:
    for plugin in {plugin_library(qemu_version()), None}:
        short, long = self_test(plugin).layers
        assert long.instructions - short.instructions == SELF_TEST_DIFFERENCE


@emulated
def test_another_qemu_counts_by_its_timer_and_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting_module, "qemu_version", lambda: "9.2.1")
    best_method.cache_clear()
    try:
        assert best_method() is Method.TIMER
    finally:
        best_method.cache_clear()


@emulated
def test_firmware_that_faults_is_told_with_its_registers(tmp_path: Path) -> None:
    firmware = built(write_program(tmp_path / "p", "*(volatile int *)0xF0000000u = 1;"), tmp_path / "f")
    with pytest.raises(MeasurementError, match=r"faulted on stm32f405: exception=0000000\d r0=.* pc=0800.* cfsr="):
        count_firmware(firmware, IMAGES, 4)


@emulated
def test_a_stack_that_overflows_is_told_as_that(tmp_path: Path) -> None:
    before = (
        "static __attribute__((noinline)) int deep(int n) { volatile int a[64]; a[n & 63] = n;"
        " return n ? deep(n - 1) + a[n & 63] : a[0]; }\n"
    )
    firmware = built(write_program(tmp_path / "p", "output[2] = (signed char)deep(1000);", before), tmp_path / "f")
    with pytest.raises(MeasurementError, match="stack overflowed on stm32f405"):
        count_firmware(firmware, IMAGES, 4)


@emulated
def test_firmware_that_hangs_is_stopped_and_says_where_it_was(tmp_path: Path) -> None:
    firmware = built(write_program(tmp_path / "p", "for (;;) ;"), tmp_path / "f")
    with pytest.raises(MeasurementError, match=r"did not end within 1 s on stm32f405 and was stopped: .*pc=0800"):
        count_firmware(firmware, IMAGES, 4, timeout_s=1)


@emulated
def test_what_does_not_fit_is_told_by_how_many_bytes(tmp_path: Path) -> None:
    before = "static signed char large[140000];\n"
    with pytest.raises(ExportError, match=r"does not fit into stm32f405: by [\d,]+ bytes beyond the 128KB of sram"):
        built(write_program(tmp_path / "p", "large[input[0] & 127] = 1; output[2] = large[5];", before), tmp_path / "f")


@emulated
def test_a_program_that_does_not_compile_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"does not compile: .*nonsense") as caught:
        built(write_program(tmp_path / "p", "nonsense();"), tmp_path / "f")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("program", [toolchain.QEMU, toolchain.ARM_GCC])
def test_a_missing_tool_is_told_with_the_line_that_installs_it(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match=rf"{program} is missing: apt-get install --no-install-recommends \S+"):
        toolchain.find_tool(program)


@pytest.mark.parametrize(
    ("mnemonic", "operands", "kind", "cycles"),
    [
        ("smlad", "r0, r1, r2, r0", InstructionClass.MULTIPLY, 1),
        ("ldr.w", "r3, [r0], #4", InstructionClass.LOAD, 2),
        ("ldrd", "r0, r1, [r2]", InstructionClass.LOAD, 3),
        ("strb", "r3, [r0]", InstructionClass.STORE, 1),
        ("push", "{r4, r5, r6, lr}", InstructionClass.MULTIPLE, 5),
        ("ldmia.w", "sp!, {r4-r11, pc}", InstructionClass.MULTIPLE, 10),
        ("bne.n", "8000000", InstructionClass.BRANCH, 1),
        ("cbz", "r0, 8000000", InstructionClass.BRANCH, 1),
        ("bic.w", "r0, r1, r2", InstructionClass.ALU, 1),
        ("sdiv", "r0, r1, r2", InstructionClass.DIVIDE, 7),
        ("vmladava.s8", "r0, q0, q1", InstructionClass.VECTOR, 1),
        ("letp", "lr, 8000000", InstructionClass.BRANCH, 1),
        ("lsls", "r0, r1, #2", InstructionClass.ALU, 1),
    ],
)
def test_instructions_have_classes(mnemonic: str, operands: str, kind: InstructionClass, cycles: int) -> None:
    found = classify(mnemonic, operands)
    assert (found.kind, found.cycles) == (kind, cycles)
