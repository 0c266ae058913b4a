"""Classify photographs with the network beside this file: python example.py photo.jpg [more.jpg ...]

Needs ai-edge-litert, numpy and Pillow, and nothing else:  pip install ai-edge-litert numpy pillow
On older boards tflite-runtime, with numpy below 2, does as well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # its predecessor reads the same files
    from tflite_runtime.interpreter import Interpreter

HERE = Path(__file__).resolve().parent


def read_image(path: str, settings: dict[str, Any]) -> Any:
    """A photograph as the network takes it: float32 [1, side, side, 3]."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):  # 16 bits of grey
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    image = image.convert("RGB")
    width, height = image.size
    box = (0.0, 0.0, float(width), float(height))
    if settings["resize"] == "crop":
        kept = min(width, height) * settings["crop"]
        left, upper = (width - kept) / 2, (height - kept) / 2
        box = (left, upper, left + kept, upper + kept)
    side = settings["side"]
    image = image.resize((side, side), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image).astype(np.float32)
    return ((pixels - np.asarray(settings["mean"], np.float32)) / np.asarray(settings["std"], np.float32))[None]


def main(paths: list[str]) -> int:
    """Print the most likely class of each photograph, with its probability."""
    missing = [path for path in paths if not Path(path).is_file()]
    if missing or not paths:
        sys.stderr.write(f"no such photograph: {missing[0]}\n" if missing else "")
        sys.stderr.write("usage: python example.py photo.jpg [more.jpg ...]\n")
        return 2
    settings = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    network = Interpreter(model_path=str(HERE / "model.tflite"))
    network.allocate_tensors()
    source, target = network.get_input_details()[0], network.get_output_details()[0]
    for path in paths:
        image = read_image(path, settings)
        if source["dtype"] == np.int8:
            scale, zero = source["quantization"]
            image = (np.rint(image / np.float32(scale)) + zero).clip(-128, 127).astype(np.int8)
        network.set_tensor(source["index"], image)
        network.invoke()
        logits = network.get_tensor(target["index"])[0].astype(np.float32)
        if target["dtype"] == np.int8:
            scale, zero = target["quantization"]
            logits = (logits - zero) * np.float32(scale)
        odds = np.exp(logits - logits.max())
        best = int(logits.argmax())
        sys.stdout.write(f"{path}: {labels[best]} {odds[best] / odds.sum():.1%}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
