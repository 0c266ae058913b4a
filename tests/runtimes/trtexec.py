"""A stand-in for TensorRT's `trtexec`, for tests: it runs the ONNX file with ONNX Runtime, really, and speaks as
versions 8, 10 and 11 do, by their documentation and logs of others. No TensorRT was at hand to hold it against.

    python trtexec.py VERSION [--onnx=...]        VERSION as in the banner: 8201, 8502, 100300, 110000

What it refuses is as much a part of it: options that a version has not (any more), zero points other than 0, operators
without an importer, precisions that were not allowed by a flag.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

MAGIC = b"stand-in plan\n"
OPTIONS = {
    "onnx", "saveEngine", "loadEngine", "noTF32", "timingCacheFile", "shapes", "iterations", "duration", "warmUp",
    "useCudaGraph", "useSpinWait", "exportTimes", "dumpProfile", "separateProfileRun", "exportProfile",
    "exportLayerInfo", "loadInputs", "exportOutput", "help",
}  # fmt: skip
NO_IMPORTER = {"Unique", "NonMaxSuppression", "Det", "StringNormalizer"}
NOT_ALLOWED = "Error Code 4: Internal Error ({} has been set for a layer, but is not configured in the builder)"
QDQ = ("QuantizeLinear", "DequantizeLinear")


class Failure(Exception):
    """What it prints as [E]."""


class Trtexec:
    def __init__(self, version: str, argv: list[str]) -> None:
        number, base = int(version), 1000 if len(version) == 4 else 10000
        self.version = (number // base, number % base // 100)
        self.banner = f"TensorRT.trtexec [TensorRT v{version}]"
        self.command = " ".join(argv)
        self.options: dict[str, str] = {}
        for word in argv:
            if not word.startswith("--"):
                raise Failure(f"Unknown option: {word}")
            name, _, value = word[2:].partition("=")
            self.options[name] = value

    def known(self) -> set[str]:
        found = set(OPTIONS)
        found.add("skipInference" if self.version >= (8, 6) else "buildOnly")
        found.add("profilingVerbosity" if self.version >= (8, 4) else "nvtxMode")
        return found | ({"fp16", "int8"} if self.version < (11, 0) else set())

    def say(self, text: str, level: str = "I") -> None:
        print(f"[11/22/2026-02:39:53] [{level}] {text}")

    def main(self) -> None:
        if unknown := set(self.options) - self.known():
            raise Failure(f"Unknown option: --{sorted(unknown)[0]}")
        if "help" in self.options:
            print("=== Model Options ===")
            return
        model = self.build() if "onnx" in self.options else self.load()
        if {"skipInference", "buildOnly"} & set(self.options):
            return
        self.infer(model)

    # Building --------------------------------------------------------------------------------------------------

    def build(self) -> bytes:
        import onnx

        self.say("=== Model Options ===")
        self.say("Format: ONNX")
        log = os.environ.get("STAND_IN_LOG")
        if log:
            with open(log, "a", encoding="utf-8") as handle:
                handle.write(self.options["onnx"] + "\n")
        data = Path(self.options["onnx"]).read_bytes()
        try:
            model = onnx.load_from_string(data)
        except Exception as error:
            raise Failure("ModelImporter.cpp: Failed to parse ONNX model from file") from error
        self.check(model)
        begun = time.monotonic()
        shapes = dict(part.split(":") for part in self.options.get("shapes", "").split(",") if part)
        for item in model.graph.input:
            dims = item.type.tensor_type.shape.dim
            if any(not dim.dim_value for dim in dims):
                if item.name not in shapes:
                    raise Failure(f"{item.name}: dynamic input is missing dimensions in profile 0.")
                for dim, size in zip(dims, shapes[item.name].split("x"), strict=True):
                    dim.Clear()
                    dim.dim_value = int(size)
        for item in model.graph.output:
            item.type.tensor_type.shape.Clear()
        fixed = model.SerializeToString()
        session(fixed)
        header = json.dumps({"version": self.version}).encode()
        Path(self.options["saveEngine"]).write_bytes(MAGIC + header + b"\n" + fixed)
        self.say(f"Engine built in {time.monotonic() - begun:.4f} sec.")
        return fixed

    def check(self, model: object) -> None:
        import numpy as np
        from onnx import TensorProto, numpy_helper

        graph = model.graph
        constants = {item.name: item for item in graph.initializer}
        newest = {8: 13 if self.version < (8, 5) else 17, 10: 22, 11: 24}[self.version[0]]
        if model.opset_import[0].version > newest:
            raise Failure(f"[TRT] onnx2trt: opset {model.opset_import[0].version} is newer than {newest}")
        for number, node in enumerate(graph.node):
            place = f'{number} [{node.op_type} -> "{node.output[0]}"]'
            where = f"[TRT] ModelImporter.cpp:773: While parsing node number {place}:"
            if node.op_type in NO_IMPORTER or (node.op_type == "HardSwish" and self.version < (8, 6)):
                self.say(where, "E")
                raise Failure(f"[TRT] ModelImporter.cpp:779: No importer registered for op: {node.op_type}")
            if node.op_type in QDQ:
                zero = numpy_helper.to_array(constants[node.input[2]])
                if zero.any() or (zero.dtype != np.int8):
                    self.say(where, "E")
                    raise Failure("[TRT] Assertion failed: TensorRT only supports symmetric quantization.")
        if self.version < (11, 0):
            types = {item.data_type for item in graph.initializer}
            if TensorProto.FLOAT16 in types and "fp16" not in self.options:
                raise Failure(NOT_ALLOWED.format("fp16"))
            if any(node.op_type in QDQ for node in graph.node) and "int8" not in self.options:
                raise Failure(NOT_ALLOWED.format("int8"))

    def load(self) -> bytes:
        data = Path(self.options["loadEngine"]).read_bytes()
        if not data.startswith(MAGIC):
            raise Failure("[TRT] Error Code 1: Serialization (magicTag does not match)")
        header, _, model = data[len(MAGIC) :].partition(b"\n")
        if tuple(json.loads(header)["version"]) != self.version:
            raise Failure("[TRT] Error Code 6: The engine plan file is not compatible with this version of TensorRT")
        return model

    # Running ---------------------------------------------------------------------------------------------------

    def infer(self, model: bytes) -> None:
        run = session(model)
        feeds = self.feeds(run)
        outputs = run.run(None, feeds)
        if "exportOutput" in self.options:
            entries = [
                {
                    "name": item.name,
                    "dimensions": "x".join(map(str, value.shape)),
                    "values": [float(v) for v in value.ravel()],
                }
                for item, value in zip(run.get_outputs(), outputs, strict=True)
            ]
            write(self.options["exportOutput"], entries)
        times = self.times(run, feeds)
        if "exportTimes" in self.options:
            write(self.options["exportTimes"], times)
        if "exportProfile" in self.options:
            self.profile(run, model)
        self.summary(times)

    def feeds(self, run: object) -> dict[str, Any]:
        import numpy as np

        kinds = {
            "tensor(float)": np.float32,
            "tensor(float16)": np.float16,
            "tensor(uint8)": np.uint8,
            "tensor(int8)": np.int8,
        }
        files = dict(part.split(":") for part in self.options.get("loadInputs", "").split(",") if part)
        feeds = {}
        for item in run.get_inputs():
            kind = kinds[item.type]
            if item.name in files:
                feeds[item.name] = np.fromfile(files[item.name], kind).reshape(item.shape)
            else:
                feeds[item.name] = np.random.default_rng(0).standard_normal(item.shape).astype(kind)
        return feeds

    def times(self, run: object, feeds: dict[str, Any]) -> list[dict[str, float]]:
        bytes_in = sum(value.nbytes for value in feeds.values())
        copy_ms = 0.004 + bytes_in / 8e6
        warm_until = time.perf_counter() + float(self.options.get("warmUp", 200)) / 1e3
        while time.perf_counter() < warm_until:
            run.run(None, feeds)
        origin, times = time.perf_counter(), []
        for _ in range(int(self.options.get("iterations", 10))):
            start = time.perf_counter()
            run.run(None, feeds)
            compute = 1e3 * (time.perf_counter() - start)
            at = 1e3 * (start - origin)
            entry = {
                "startEnqMs": at, "endEnqMs": at + 0.01, "startH2dMs": at, "endH2dMs": at + copy_ms,
                "startComputeMs": at + copy_ms, "endComputeMs": at + copy_ms + compute,
                "startD2hMs": at + copy_ms + compute, "endD2hMs": at + copy_ms + compute + 0.003,
                "h2dMs": copy_ms, "computeMs": compute, "d2hMs": 0.003, "latencyMs": copy_ms + compute + 0.003,
            }  # fmt: skip
            if self.version < (8, 3):
                entry["endToEndMs"] = 2 * entry["latencyMs"]
            times.append(entry)
        return times

    def profile(self, run: object, model: bytes) -> None:
        import onnx

        names = [node.name for node in onnx.load_from_string(model).graph.node if node.op_type not in QDQ]
        runs = int(self.options.get("iterations", 10))
        share = 1.0 / len(names)
        entries: list[dict[str, object]] = [{"count": runs}]
        for name in names:
            entry = {"name": name, "timeMs": 0.02 * runs, "averageMs": 0.02, "percentage": 100 * share}
            if self.version >= (8, 4):
                entry["medianMs"] = 0.02
            entries.append(entry)
        write(self.options["exportProfile"], entries)
        if "exportLayerInfo" in self.options:
            detailed = self.options.get("profilingVerbosity") == "detailed"
            layers = [
                {"Name": n, "LayerType": "CaskConvolution", "Inputs": [], "Outputs": []} if detailed else n
                for n in names
            ]
            tensors = [item.name for item in (*run.get_inputs(), *run.get_outputs())]
            key = "I/O Tensors" if self.version >= (11, 0) else "Bindings"
            write(self.options["exportLayerInfo"], {"Layers": layers, key: tensors})

    def summary(self, times: list[dict[str, float]]) -> None:
        import numpy as np

        self.say("=== Performance summary ===")
        self.say(f"Throughput: {1e3 / np.mean([t['latencyMs'] for t in times]):g} qps")
        keys = {"Latency": "latencyMs", "H2D Latency": "h2dMs", "GPU Compute Time": "computeMs", "D2H Latency": "d2hMs"}
        tail = (99,) if self.version < (8, 5) else (90, 95, 99)
        for name, key in keys.items():
            values = np.array([t[key] for t in times])
            figures = {"min": values.min(), "max": values.max(), "mean": values.mean(), "median": np.median(values)}
            text = [f"{kind} = {value:g} ms" for kind, value in figures.items()]
            text += [f"percentile({p}%) = {np.percentile(values, p):g} ms" for p in tail]
            self.say(f"{name}: {', '.join(text)}")
        self.say("* GPU compute time is unstable, with coefficient of variance = 4.2%.", "W")


def session(model: bytes) -> object:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def write(path: str, value: object) -> None:
    Path(path).write_text(json.dumps(value), encoding="utf-8")


def main(version: str, argv: list[str]) -> int:
    tool = None
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec {' '.join(argv)}")
    try:
        tool = Trtexec(version, argv)
        tool.main()
    except Failure as error:
        print(f"[11/22/2026-02:39:53] [E] {error}")
        print(f"&&&& FAILED TensorRT.trtexec [TensorRT v{version}] # trtexec {' '.join(argv)}")
        return 1
    print(f"&&&& PASSED TensorRT.trtexec [TensorRT v{version}] # trtexec {' '.join(argv)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
