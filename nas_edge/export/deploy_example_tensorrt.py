"""Classify photographs with the network beside this file: python example.py photo.jpg [more.jpg ...]

Needs trtexec (a Jetson has it in /usr/src/tensorrt/bin), numpy and Pillow, and nothing else. The engine, model.plan, is
built at the first run, which takes a minute or so; it holds for this device and this version of TensorRT alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
MODEL, PLAN = HERE / "model.onnx", HERE / "model.plan"


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


def trtexec(*options: str) -> str:
    """Run it; what it printed."""
    program = os.environ.get("TRTEXEC") or shutil.which("trtexec") or "/usr/src/tensorrt/bin/trtexec"
    done = subprocess.run([program, *options], capture_output=True, text=True, check=False)  # noqa: S603 - a constant
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if "[E]" in line]
        raise SystemExit(f"trtexec fails: {errors[0] if errors else done.stderr.strip()[-300:]}")
    return done.stdout


def main(paths: list[str]) -> int:
    """Print the most likely class of each photograph, with its probability."""
    missing = [path for path in paths if not Path(path).is_file()]
    if missing or not paths:
        sys.stderr.write(f"no such photograph: {missing[0]}\n" if missing else "")
        sys.stderr.write("usage: python example.py photo.jpg [more.jpg ...]\n")
        return 2
    settings = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    if not PLAN.is_file() or PLAN.stat().st_mtime < MODEL.stat().st_mtime:
        older = "[TensorRT v11" not in trtexec(
            "--help"
        )  # from 11 on the file alone says in which precision it computes
        precision = [f"--{settings['precision']}"] if older and settings["precision"] != "fp32" else []
        trtexec(f"--onnx={MODEL}", f"--saveEngine={PLAN}", "--noTF32", *precision, "--iterations=1", "--duration=0")
    with tempfile.TemporaryDirectory() as folder:
        image, answer = Path(folder) / "image", Path(folder) / "answer.json"
        for path in paths:
            image.write_bytes(read_image(path, settings).tobytes())
            given = f"--loadInputs={settings['input']}:{image}"
            trtexec(f"--loadEngine={PLAN}", given, f"--exportOutput={answer}", "--iterations=1", "--duration=0")
            logits = np.array(json.loads(answer.read_text(encoding="utf-8"))[0]["values"])
            odds = np.exp(logits - logits.max())
            best = int(logits.argmax())
            sys.stdout.write(f"{path}: {labels[best]} {odds[best] / odds.sum():.1%}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
