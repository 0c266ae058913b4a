"""The `.tflite` file itself: tensors, operators and buffers, packed by the schema that comes with LiteRT.

Buffers lie inside the flatbuffer, aligned to 16 bytes as its schema asks: other readers (TensorFlow Lite Micro) know no
buffers behind it, and some cores fault on numbers that are not aligned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MissingExtraError
from nas_edge.runtimes.tflite.reading import Quantisation

IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_ALIGNMENT = 16
_SLACK = 2**16


def schema() -> Any:
    """LiteRT's generated schema. Raises MissingExtraError."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "litert", "writing .tflite files") from error
    return schema_py_generated


class FileWriter:
    """Tensors and operators of one subgraph, appended in order; equal constants are stored once."""

    def __init__(self) -> None:
        self._schema = schema()
        self._graph = self._schema.SubGraphT()
        self._graph.name = b"main"
        self._graph.tensors, self._graph.operators = [], []
        self._buffers: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]  # the first one is empty by convention
        self._codes: dict[tuple[int, int], int] = {}
        self._kinds = {
            np.dtype(kind): getattr(self._schema.TensorType, name)
            for kind, name in ((np.float32, "FLOAT32"), (np.int8, "INT8"), (np.int32, "INT32"))
        }

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: type[np.generic],
        quantisation: Quantisation | None = None,
        *,
        values: NDArray[Any] | None = None,
        axis: int = 0,
        dynamic_batch: bool = False,
    ) -> int:
        """Add a tensor.

        Args:
            name: unique.
            shape: of the tensor; a batch that is dynamic is 1 here.
            kind: np.float32, np.int8 or np.int32.
            quantisation: of its codes.
            values: of a constant.
            axis: that several scales go along.
            dynamic_batch: whether the first size may be changed.

        Returns:
            Its number.

        """
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape = name.encode(), np.array(shape, np.int32)
        tensor.type = self._kinds[np.dtype(kind)]
        if dynamic_batch:
            tensor.shapeSignature = np.array([-1, *shape[1:]], np.int32)
        if quantisation is not None:
            found = self._schema.QuantizationParametersT()
            found.scale = quantisation.scales
            found.zeroPoint = np.full(len(quantisation.scales), quantisation.zero, np.int64)
            found.quantizedDimension = axis if len(quantisation.scales) > 1 else 0
            tensor.quantization = found
        tensor.buffer = 0
        if values is not None:
            self._buffers.append(np.frombuffer(np.ascontiguousarray(values, kind).tobytes(), np.uint8))
            tensor.buffer = len(self._buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def operator(
        self,
        name: str,
        version: int,
        inputs: Sequence[int],
        output: int,
        options: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an operator.

        Args:
            name: "CONV_2D".
            version: the least that has what is used: older runtimes know no later one.
            inputs: tensors.
            output: a tensor.
            options: name of its table of options, without "T".
            settings: of these.

        """
        code = getattr(self._schema.BuiltinOperator, name)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((code, version), len(self._codes))
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self._schema, f"{options}T")()
            for key, value in (settings or {}).items():
                setattr(operator.builtinOptions, key, value)
        self._graph.operators.append(operator)

    def finish(
        self,
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
        description: str,
        metadata: Mapping[str, str],
    ) -> bytes:
        """The file.

        Args:
            inputs: tensors by name.
            outputs: likewise.
            description: of the model.
            metadata: text by name.

        """
        import flatbuffers

        named = [(key, self._text(text)) for key, text in metadata.items()]
        model = self._schema.ModelT()
        model.version, model.description = _SCHEMA_VERSION, description.encode()
        self._graph.inputs = np.array(list(inputs.values()), np.int32)
        self._graph.outputs = np.array(list(outputs.values()), np.int32)
        model.subgraphs = [self._graph]
        model.operatorCodes = [self._operator_code(code, version) for code, version in self._codes]
        model.buffers = [_AlignedBuffer(self._schema, values) for values in self._buffers]
        model.metadata = [self._metadata(key, buffer) for key, buffer in named]
        model.signatureDefs = [self._signature(inputs, outputs)]
        size = sum(len(values) + _ALIGNMENT for values in self._buffers) + _SLACK
        builder = flatbuffers.Builder(size)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _text(self, text: str) -> int:
        self._buffers.append(np.frombuffer(text.encode(), np.uint8))
        return len(self._buffers) - 1

    def _operator_code(self, code: int, version: int) -> Any:
        found = self._schema.OperatorCodeT()
        found.builtinCode, found.version = code, version
        found.deprecatedBuiltinCode = min(code, 127)  # what readers from before 2020 look at
        return found

    def _metadata(self, name: str, buffer: int) -> Any:
        found = self._schema.MetadataT()
        found.name, found.buffer = name.encode(), buffer
        return found

    def _signature(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Any:
        found = self._schema.SignatureDefT()
        found.signatureKey, found.subgraphIndex = b"serving_default", 0
        found.inputs = [self._named(*item) for item in inputs.items()]
        found.outputs = [self._named(*item) for item in outputs.items()]
        return found

    def _named(self, name: str, tensor: int) -> Any:
        found = self._schema.TensorMapT()
        found.name, found.tensorIndex = name.encode(), tensor
        return found


class _AlignedBuffer:
    """A buffer as `BufferT` packs it, at an address that is a multiple of 16."""

    def __init__(self, generated: Any, values: NDArray[np.uint8]) -> None:
        self._schema, self._values = generated, values

    def Pack(self, builder: Any) -> int:
        """Append to a flatbuffer; where."""
        start = 0
        if size := len(self._values):
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size  # as Builder.CreateByteVector does, which knows no alignment
            builder.Bytes[builder.head : builder.head + size] = self._values.tobytes()
            start = builder.EndVector()
        self._schema.BufferStart(builder)
        if size:
            self._schema.BufferAddData(builder, start)
        return int(self._schema.BufferEnd(builder))
