"""Classify photographs with the network beside this file: python example.py photo.jpg [more.jpg ...]

Needs onnxruntime, numpy and Pillow, and nothing else:  pip install onnxruntime numpy pillow
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is loaded
import onnxruntime

HERE = Path(__file__).resolve().parent


def read_image(path: str, settings: dict[str, Any]) -> Any:
    """A photograph as the network takes it: float32 [1, 3, side, side]."""
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
    planes = np.asarray(image).transpose(2, 0, 1).astype(np.float32)
    mean = np.asarray(settings["mean"], np.float32)[:, None, None]
    std = np.asarray(settings["std"], np.float32)[:, None, None]
    return ((planes - mean) / std)[None]


def main(paths: list[str]) -> int:
    """Print the most likely class of each photograph, with its probability."""
    missing = [path for path in paths if not Path(path).is_file()]
    if missing or not paths:
        sys.stderr.write(f"no such photograph: {missing[0]}\n" if missing else "")
        sys.stderr.write("usage: python example.py photo.jpg [more.jpg ...]\n")
        return 2
    settings = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    for path in paths:
        logits = session.run([settings["output"]], {settings["input"]: read_image(path, settings)})[0][0]
        odds = np.exp(logits - logits.max())
        best = int(logits.argmax())
        sys.stdout.write(f"{path}: {labels[best]} {odds[best] / odds.sum():.1%}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
