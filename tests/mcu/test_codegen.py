"""The generated C: equal for equal graphs, free of warnings and undefined behaviour, as large as the plan says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.errors import DataError, ExportError, MeasurementError
from nas_edge.mcu import reference
from nas_edge.mcu.codegen import HostBuild, Pixels, build_for_host, generate, plan_graph, write_library
from nas_edge.mcu.codegen.host import SANITIZERS, WARNINGS
from nas_edge.mcu.codegen.naming import array_lines, comment, float_literal, string_literal
from nas_edge.mcu.codegen.weights_file import weights_blob
from nas_edge.mcu.toolchain import ARM_GCC, missing_tools
from nas_edge.memory import READAHEAD_BYTES, Layer, LayerKind, parameter_bytes, scratch_bytes
from tests.mcu.graphs import random_graph, random_images, subnet_graph

PIXELS = Pixels((120.0, 110.0, 100.0), (60.0, 61.0, 62.0))
LABELS = ["glass", 'a "quoted"', "back\\slash", "trigraph??/", "Glühbirne", "*/ end"]
QUICK = ("-O1",)
"""To compile in a moment what need not run fast."""
SLOW_LITE0 = pytest.param("lite0", 64, 24, marks=pytest.mark.slow)
needs_arm = pytest.mark.skipif(bool(missing_tools(ARM_GCC)), reason="gcc-arm-none-eabi is not installed")


def run_text(command: list[str | Path], where: Path) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_equal_graphs_give_equal_texts_and_other_weights_give_others() -> None:
    texts = [generate(subnet_graph(seed), pixels=PIXELS, labels=LABELS) for seed in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert {name for name in texts[0] if texts[0][name] != texts[2][name]} >= {"net.c", "weights.c"}


def test_no_generated_line_holds_a_name_that_was_not_filled_in() -> None:
    for name, text in generate(subnet_graph(1), pixels=PIXELS, labels=LABELS).items():
        assert not re.findall(r"@[a-z_]+@", text), name


@pytest.mark.parametrize(
    ("space", "resolution", "seed"), [("mcu", 48, 21), ("mcu-tiny", 28, 22), ("mcu-tiny", 20, 23), SLOW_LITE0]
)
def test_layers_that_share_an_arena_give_what_the_reference_gives(
    space: str, resolution: int, seed: int, tmp_path: Path
) -> None:
    graph = subnet_graph(seed, resolution=resolution, space=space)
    images = random_images(graph, 3)
    build = build_for_host(generate(graph), graph.input, graph.output, tmp_path, flags=QUICK)
    np.testing.assert_array_equal(build.run(images), reference.run(graph, images))


def test_odd_channels_that_are_written_over_their_own_input_give_what_the_reference_gives(tmp_path: Path) -> None:
    """Projection in place with nearly as many outputs as inputs; expansions over the end of themselves."""
    pads = (1, 1, 1, 1)
    layers = [
        Layer("conv", LayerKind.CONV, 15, 15, 3, 5, 3, 3, 2, pads),
        Layer("expand1", LayerKind.POINTWISE, 8, 8, 5, 7, inputs=(0,)),
        Layer("depthwise1", LayerKind.DEPTHWISE, 8, 8, 7, 7, 3, 3, 1, pads, (1,)),
        Layer("project1", LayerKind.POINTWISE, 8, 8, 7, 5, inputs=(2,)),
        Layer("sum1", LayerKind.ADD, 8, 8, 5, 5, inputs=(3, 0)),
        Layer("expand2", LayerKind.POINTWISE, 8, 8, 5, 9, inputs=(4,)),
        Layer("depthwise2", LayerKind.DEPTHWISE, 8, 8, 9, 9, 5, 5, 2, (1, 1, 2, 2), (5,)),
        Layer("project2", LayerKind.POINTWISE, 4, 4, 9, 6, inputs=(6,)),
        Layer("head", LayerKind.POINTWISE, 4, 4, 6, 13, inputs=(7,)),
        Layer("pool", LayerKind.POOL, 4, 4, 13, 13, inputs=(8,)),
        Layer("linear", LayerKind.LINEAR, 1, 1, 13, 6, inputs=(9,)),
    ]
    graph = random_graph(layers, 5)
    plan = plan_graph(graph)
    assert plan.tensors[layers.index(layers[2]) + 1] == plan.tensors[layers.index(layers[3]) + 1]
    images = random_images(graph, 4)
    build = build_for_host(generate(graph), graph.input, graph.output, tmp_path, flags=QUICK)
    np.testing.assert_array_equal(build.run(images), reference.run(graph, images))


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_build_it_without_a_warning_and_agree_to_the_bit(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    graph = subnet_graph(5)
    files = generate(graph, pixels=PIXELS, labels=LABELS)
    images = random_images(graph, 3)
    plain = build_for_host(files, graph.input, graph.output, tmp_path / "plain", flags=("-O0", "-DNAS_PLAIN"))
    built = build_for_host(files, graph.input, graph.output, tmp_path / "fast", compiler=compiler)
    np.testing.assert_array_equal(built.run(images), plain.run(images))
    assert len({row.tobytes() for row in built.run(images)}) == 3, "three images, three answers"


@pytest.mark.parametrize("seed", [7, pytest.param(8, marks=pytest.mark.slow)])
def test_sanitizers_find_no_undefined_behaviour(seed: int, tmp_path: Path) -> None:
    graph = subnet_graph(seed)
    files = generate(graph, pixels=PIXELS, labels=LABELS)
    build = build_for_host(files, graph.input, graph.output, tmp_path, flags=("-O1", *SANITIZERS))
    assert build.run(random_images(graph, 2)).shape == (2, 1, 1, 6)


@needs_arm
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_weights_and_arena_take_what_was_planned_to_the_byte(core: str, tmp_path: Path) -> None:
    graph = subnet_graph(9)
    write_library(tmp_path, generate(graph))
    flags = [f"-mcpu={core}", "-mthumb", "-mfloat-abi=hard", "-O3", "-fdata-sections", *WARNINGS]
    flags += ["-mfpu=fpv4-sp-d16"] if core == "cortex-m4" else []
    sources = sorted(path.name for path in tmp_path.glob("*.c") if path.name != "host.c")
    run_text([ARM_GCC, *flags, "-c", *sources], tmp_path)
    symbols = run_text(["arm-none-eabi-nm", "-S", "net.o", "weights.o"], tmp_path)
    sizes = {line.split()[-1]: int(line.split()[1], 16) for line in symbols.splitlines() if len(line.split()) == 4}
    plan = plan_graph(graph)
    assert sizes["arena"] == plan.arena_bytes
    assert sizes["net_weights"] == sum(parameter_bytes(item.layer) for item in graph.layers) + READAHEAD_BYTES
    assert sizes["net_weights"] == len(weights_blob(graph))


def test_scratch_is_what_the_kernels_ask_for(tmp_path: Path) -> None:
    """The macros of nas_kernels.h, compiled, against the formulas that populations are planned by."""
    layers = [
        Layer("c", LayerKind.CONV, 9, 9, 3, 5, 3, 3, 2, (1, 1, 1, 1)),
        Layer("d", LayerKind.CONV, 9, 9, 6, 5, 5, 5, 1, (2, 2, 2, 2)),
        Layer("p", LayerKind.POINTWISE, 9, 9, 7, 5),
        Layer("l", LayerKind.LINEAR, 1, 1, 13, 5),
        *(Layer("k", LayerKind.DEPTHWISE, 11, 10, 5, 5, k, k, s, (k // 2,) * 4) for k in (3, 5, 7) for s in (1, 2)),
    ]
    macros = {
        LayerKind.CONV: "NAS_CONV_SCRATCH({0.kernel_height}, {0.kernel_width}, {0.in_channels})",
        LayerKind.POINTWISE: "NAS_POINTWISE_SCRATCH({0.in_channels})",
        LayerKind.LINEAR: "NAS_LINEAR_SCRATCH({0.in_channels})",
        LayerKind.DEPTHWISE: "NAS_DEPTHWISE_SCRATCH({0.kernel_width}, {0.stride}, {0.out_width})",
    }
    values = ", ".join(macros[layer.kind].format(layer) for layer in layers)
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n#include "nas_kernels.h"\nint main(void)\n{{\n    int v[] = {{{values}}};\n'
        f'    for (int i = 0; i < {len(layers)}; i++)\n        printf("%d ", v[i]);\n'
        "    return NAS_WEIGHT_READAHEAD;\n}\n"
    )
    write_library(tmp_path, {k: v for k, v in generate(random_graph(layers[2:3])).items() if k.startswith("nas_")})
    run_text(["gcc", "main.c", "-o", "main"], tmp_path)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=False)
    assert [int(word) for word in done.stdout.split()] == [scratch_bytes(layer) for layer in layers]
    assert done.returncode == READAHEAD_BYTES


def test_the_hook_hears_of_each_layer_in_its_turn(tmp_path: Path) -> None:
    graph = subnet_graph(11)
    (tmp_path / "hook.h").write_text("void heard(int layer);\n#define NET_LAYER_HOOK(layer) heard(layer)\n")
    hook = '#include <stdio.h>\n#include "hook.h"\nvoid heard(int layer) { fprintf(stderr, "%d ", layer); }\n'
    files = {**generate(graph), "hook.c": hook}
    build = build_for_host(files, graph.input, graph.output, tmp_path, flags=("-O1", "-include", "hook.h"))
    done = subprocess.run([build.program], input=random_images(graph, 1).tobytes(), capture_output=True, check=True)
    assert [int(word) for word in done.stderr.split()] == list(range(len(graph.layers) + 1))


def test_the_boards_half_of_measuring_over_a_line_compiles_in_any_project(tmp_path: Path) -> None:
    graph = subnet_graph(11)
    write_library(tmp_path, generate(graph))
    (tmp_path / "board.c").write_text(
        '#include "profile/nas_serve.h"\nuint8_t nas_get_byte(void) { return 0; }\n'
        "void nas_put_byte(uint8_t byte) { (void)byte; }\nvoid nas_ticks_start(void) {}\n"
        "uint32_t nas_ticks(void) { return 0; }\nuint32_t nas_ticks_per_second(void) { return 1; }\n"
        "uint32_t nas_stack_used(void) { return 0; }\nint main(void) { nas_serve(); }\n"
    )
    own = [path.name for path in sorted(tmp_path.glob("*.c")) if path.name != "host.c"]
    profile = [f"profile/{path.name}" for path in sorted((tmp_path / "profile").glob("*.c"))]
    hook = ["-include", "profile/nas_layers.h", "-I", "."]
    run_text(["gcc", *WARNINGS, *hook, *own, *profile, "-o", "board"], tmp_path)


def test_damaged_weights_are_found_before_they_give_wrong_answers(tmp_path: Path) -> None:
    graph = subnet_graph(12)
    files = generate(graph)
    text = files["weights.c"]
    at = text.rindex("1,")
    files["weights.c"] = text[:at] + "2," + text[at + 2 :]
    build = build_for_host(files, graph.input, graph.output, tmp_path, flags=QUICK)
    with pytest.raises(MeasurementError, match="the weights are damaged"):
        build.run(random_images(graph, 1))


def test_make_and_cmake_build_what_the_readme_says(tmp_path: Path) -> None:
    graph = subnet_graph(13)
    write_library(tmp_path / "net", generate(graph, pixels=PIXELS, labels=LABELS))
    images = random_images(graph, 2)
    run_text(["make", "-s", "host"], tmp_path / "net")
    by_make = subprocess.run([tmp_path / "net" / "host"], input=images.tobytes(), capture_output=True, check=True)
    assert len(by_make.stdout) == 2 * graph.output.bytes
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    run_text(["cmake", "-S", "net", "-B", "build", "-DCMAKE_BUILD_TYPE=Release"], tmp_path)
    run_text(["cmake", "--build", "build", "--target", "host"], tmp_path)
    by_cmake = subprocess.run([tmp_path / "build" / "host"], input=images.tobytes(), capture_output=True, check=True)
    assert by_cmake.stdout == by_make.stdout


def test_pixels_become_the_codes_that_the_host_would_feed(tmp_path: Path) -> None:
    graph = subnet_graph(14)
    files = generate(graph, pixels=PIXELS, labels=LABELS)
    files["host.c"] = (
        '#include <stdio.h>\n#include "net.h"\nstatic uint8_t pixels[NET_INPUT_BYTES];\nint main(void)\n{\n'
        "    if (fread(pixels, 1, NET_INPUT_BYTES, stdin) != NET_INPUT_BYTES)\n        return 1;\n"
        "    net_set_pixels(pixels);\n    fwrite(net_input(), 1, NET_INPUT_BYTES, stdout);\n"
        "    for (int i = 0; i < NET_OUTPUTS; i++)\n        puts(net_labels[i]);\n    return 0;\n}\n"
    )
    program = build_for_host(files, graph.input, graph.output, tmp_path, flags=QUICK).program
    pixels = np.random.default_rng(0).integers(0, 256, graph.input.shape).astype(np.uint8)
    done = subprocess.run([program], input=pixels.tobytes(), capture_output=True, check=True)
    assert done.stdout == PIXELS.codes(pixels[None], graph.input).tobytes() + "".join(f"{x}\n" for x in LABELS).encode()


def test_class_names_and_channels_that_do_not_fit_are_refused() -> None:
    graph = subnet_graph(14)
    with pytest.raises(ExportError, match="5 class names for 6 outputs"):
        generate(graph, pixels=PIXELS, labels=LABELS[:5])
    with pytest.raises(ExportError, match="1 means and 1 deviations for 3 channels"):
        generate(graph, pixels=Pixels((1.0,), (1.0,)), labels=LABELS)


def test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    graph = subnet_graph(15)
    with pytest.raises(DataError, match="do not fit the input"):
        HostBuild(tmp_path / "host", graph.input, graph.output).run(np.zeros((1, 3, 32, 32), np.int8))


def test_code_that_the_compiler_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    graph = subnet_graph(15)
    files = {"bad.c": "int f(void) { return nothing; }\n"}
    with pytest.raises(ExportError, match=r"gcc refuses the generated code: bad\.c:1.*nothing"):
        build_for_host(files, graph.input, graph.output, tmp_path)


def test_two_layers_that_c_cannot_tell_apart_are_refused() -> None:
    layers = [
        Layer("b.a", LayerKind.POINTWISE, 2, 2, 3, 3),
        Layer("b_a", LayerKind.POINTWISE, 2, 2, 3, 3, inputs=(0,)),
    ]
    with pytest.raises(ExportError, match=r"'b\.a' and 'b_a' would both be called b_a"):
        generate(random_graph(layers))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_literals_are_read_back_to_the_bit(value: float) -> None:
    text = float_literal(value)
    assert text.endswith("f")
    assert any(c in text for c in ".e")
    assert np.float32(text[:-1]) == np.float32(value)


@given(st.text(max_size=30))
def test_comments_cannot_be_ended_from_within_and_strings_stay_on_their_line(text: str) -> None:
    assert "*/" not in comment(text)
    assert re.fullmatch(r'"(?:[ !#->@-\[\]-~]|\\[0-7]{3})*"', string_literal(text))


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=60))
def test_arrays_hold_every_value_on_lines_of_bounded_length(values: list[int]) -> None:
    lines = array_lines(values, "    ")
    assert max(map(len, lines)) <= 101
    text = " ".join(lines).replace("(-2147483647 - 1)", str(-(2**31)))
    assert [int(word) for word in text.split(",")] == values
