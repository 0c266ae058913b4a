"""Classify photographs with the C beside this file: python example.py photo.jpg [more.jpg ...]

Needs a C compiler, make, numpy and Pillow, and nothing else. The program that it builds computes, bit by bit, what the
same C computes on a microcontroller.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent


def read_image(path: str, settings: dict[str, Any]) -> Any:
    """A photograph as the network takes it: float32 [side, side, 3]."""
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
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box)).astype(np.float32)
    return (pixels - np.asarray(settings["mean"], np.float32)) / np.asarray(settings["std"], np.float32)


def macro(name: str) -> float:
    """A number of net.h."""
    text = (HERE / "net.h").read_text(encoding="utf-8")
    return float(re.search(rf"#define {name} \(?([-0-9.e+]+)", text)[1])  # type: ignore[index]


def main(paths: list[str]) -> int:
    """Print the most likely class of each photograph, with its probability."""
    missing = [path for path in paths if not Path(path).is_file()]
    if missing or not paths:
        sys.stderr.write(f"no such photograph: {missing[0]}\n" if missing else "")
        sys.stderr.write("usage: python example.py photo.jpg [more.jpg ...]\n")
        return 2
    settings = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    scale, zero = np.float32(macro("NET_INPUT_SCALE")), macro("NET_INPUT_ZERO_POINT")
    subprocess.run(["make", "-s", "host"], cwd=HERE, check=True)  # noqa: S607 - the make of whoever runs this
    for path in paths:
        codes = np.clip(np.rint(read_image(path, settings) / scale) + zero, -128, 127).astype(np.int8)
        done = subprocess.run([HERE / "host"], input=codes.tobytes(), capture_output=True, check=True)  # noqa: S603
        logits = np.frombuffer(done.stdout, np.int32) * macro("NET_OUTPUT_SCALE")
        odds = np.exp(logits - logits.max())
        best = int(logits.argmax())
        sys.stdout.write(f"{path}: {labels[best]} {odds[best] / odds.sum():.1%}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
