"""`train --alone`: a plain network from scratch, as a run that every other command takes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from nas_edge.cli.main import invoke
from nas_edge.errors import ConfigError, NasEdgeError, StorageError, TrainingError
from nas_edge.files import read_yaml, write_yaml
from nas_edge.pipeline.alone.flow import alone_flow
from nas_edge.pipeline.alone.subject import Subject, find_subject
from nas_edge.pipeline.bundle import CALIBRATION, HEADER, load_bundle
from nas_edge.pipeline.evaluate_flow import evaluate_flow
from nas_edge.pipeline.exporting.flow import export_flow
from nas_edge.pipeline.learning.finetuning import finetune_flow
from nas_edge.pipeline.networks import FINETUNED, subnet_of_run
from nas_edge.pipeline.profiling.timed import model_of_run
from nas_edge.pipeline.reporting.facts import read_facts
from nas_edge.pipeline.running.directory import load_run
from nas_edge.spaces import Template
from nas_edge.supernet.static import StaticNet
from tests.bundles import make_images

RECIPE = {"batch_size": 12, "learning_rate": 0.004, "mixup": 0.0, "warmup_epochs": 0.5}


@pytest.fixture
def subject(stand: Path) -> Subject:
    """The tiny bundle's largest network."""
    return find_subject("largest", bundle="tiny")


@pytest.fixture(scope="module")
def finished(stand_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the tiny bundle's images."""
    out = tmp_path_factory.mktemp("alone") / "run"
    bundle = load_bundle(stand_template / "bundles" / "tiny")
    report = alone_flow(Subject(bundle.space, bundle.space.largest(), bundle), out, epochs=4, recipe=RECIPE)
    assert report.exit_code == 0
    return out


def test_the_run_holds_a_plain_network_that_has_learnt(finished: Path) -> None:
    result = load_run(finished).result
    assert result["accuracy"]["measured"] > 0.9 > result["inherited"]["measured"]  # the bundle's weights are random
    net, _, arch = subnet_of_run(load_run(finished))
    assert isinstance(net, StaticNet)
    assert not any("elastic" in type(module).__module__ for module in net.modules())
    assert (arch == load_bundle(load_run(finished).bundle).space.largest()).all()
    assert not (finished / "work").exists()
    assert any((finished / "events").iterdir())
    with open(finished / "history.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    best = max(float(row["search_accuracy"]) for row in rows)
    assert float(rows[result["trained"]["epoch"] - 1]["search_accuracy"]) == best
    assert result["accuracy"]["measured"] == pytest.approx(best, abs=0.05)  # rounded to float16 since


def test_a_run_is_evaluated_exported_and_profiled(finished: Path, stand: Path) -> None:
    measured = load_run(finished).result["accuracy"]["measured"]
    assert evaluate_flow(str(finished)).accuracy == pytest.approx(measured, abs=1e-4)
    exported = export_flow(finished, precision="int8")
    assert exported.quantisation is not None
    assert exported.quantisation.before == pytest.approx(measured, abs=1e-4)
    assert "exported file" not in model_of_run(load_run(finished), "onnxruntime")[1]  # int8 is no fp32
    export_flow(finished)
    assert "exported file" in model_of_run(load_run(finished), "onnxruntime")[1]


def test_a_searchs_report_of_it_is_refused_in_one_line(finished: Path) -> None:
    with pytest.raises(ConfigError, match="trained alone, not a search; 'nas-edge evaluate' judges it"):
        read_facts(finished)


def test_a_run_names_what_is_trained(finished: Path, stand: Path) -> None:
    found = find_subject(str(finished))
    assert (found.arch == found.space.largest()).all()
    with pytest.raises(ConfigError, match="leave --bundle and --space out"):
        find_subject(str(finished), bundle="tiny")


def test_without_a_bundle_the_run_brings_its_own_and_may_be_moved(
    stand: Path, stand_template: Path, tiny_template: Template, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("space.yaml").write_text(yaml.safe_dump(tiny_template.to_dict()))
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    data = str(stand_template / "images")
    arguments = ["--data", data, "--space", "space.yaml", "--recipe", "recipe.yaml", "--epochs", "2", "--out", "own"]
    assert invoke(["train", "--alone", "smallest", *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inherited"] is None
    Path("own").rename(tmp_path / "moved")
    again = evaluate_flow(str(tmp_path / "moved"))
    assert again.accuracy == pytest.approx(told["accuracy"]["measured"], abs=1e-4)
    assert export_flow(tmp_path / "moved", precision="int8").model.is_file()
    assert finetune_flow(tmp_path / "moved", epochs=1).before[0] == pytest.approx(again.accuracy)
    assert invoke(["evaluate", str(tmp_path / "moved")]) == 0
    assert "with weights of its own" in capsys.readouterr().out


def test_images_that_have_moved_serve_whatever_needs_images(stand: Path) -> None:
    copy = shutil.copytree(load_bundle("tiny").path, stand / "bundles/bare")
    (copy / CALIBRATION).unlink()
    header = read_yaml(copy / HEADER)
    images, gone = header["data"]["spec"], {"spec": str(stand / "gone")}
    moved = {"data": header["data"] | gone, "calibration": {"data": "gone"}, "name": "bare"}
    write_yaml(copy / HEADER, header | moved)
    subject = find_subject("largest", bundle=str(copy), data=images)
    report = alone_flow(subject, stand / "run", epochs=1, recipe=RECIPE)
    assert report.result["inherited"]["measured"] <= 1.0


def test_it_is_another_network_for_another_seed_only(subject: Subject, tmp_path: Path) -> None:
    runs = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        alone_flow(subject, tmp_path / name, epochs=1, recipe=RECIPE, seed=seed)
        runs[name] = (tmp_path / name / FINETUNED).read_bytes()
    assert runs["a"] == runs["b"] != runs["c"]


def test_a_time_limit_ends_it_with_a_usable_run(subject: Subject, tmp_path: Path) -> None:
    began = time.monotonic()
    report = alone_flow(subject, tmp_path / "short", epochs=5000, recipe=RECIPE, time_limit_s=3)
    assert time.monotonic() - began < 15
    assert report.result["trained"]["cut_short"]
    assert evaluate_flow(str(tmp_path / "short")).accuracy > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alone", "none.json", "--bundle", "tiny"], "none.json: cannot be read"),
        (["--alone", "[1, 2]", "--bundle", "tiny"], "genes"),
        (["--alone", '{"r": 28', "--bundle", "tiny"], "is not JSON"),
        (["--alone", '{"r": 28}', "--bundle", "tiny"], "'d' must be a list"),
        (["--alone", "largest"], "--alone needs images"),
        (["--alone", "largest", "--bundle", "tiny", "--space", "mcu"], "exclude each other"),
        (["--alone", "largest", "--bundle", "tiny", "--init", "tiny"], "--init is of supernets"),
        (["--alone", "largest", "--bundle", "nowhere"], "unknown bundle 'nowhere'"),
        (["--alone", ".", "--bundle", "tiny"], "is not the directory of a search"),
        (["--bundle", "tiny"], "--bundle goes with --alone"),
        ([], "--data is missing"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(
    stand: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert invoke(["train", *arguments, "--out", "never"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("never").exists()


def test_a_finished_run_and_other_directories_are_not_written_over(
    finished: Path, subject: Subject, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="holds a finished run"):
        alone_flow(subject, finished)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(ConfigError, match="is no unfinished training"):
        alone_flow(subject, tmp_path / "letters")


def interrupted(subject: Subject, out: Path, after: float, **options) -> None:
    def stop(done: float, total: float, text: str) -> None:
        if done > after and text.startswith("epoch"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        alone_flow(subject, out, recipe=RECIPE, progress=stop, **options)


def test_ctrl_c_saves_and_the_same_call_goes_on_to_the_same_weights(subject: Subject, tmp_path: Path) -> None:
    alone_flow(subject, tmp_path / "whole", epochs=3, recipe=RECIPE)
    interrupted(subject, tmp_path / "cut", 1.3, epochs=3)
    with pytest.raises(NasEdgeError, match="is not the directory of a search"):
        load_run(tmp_path / "cut")
    alone_flow(subject, tmp_path / "cut", epochs=3, recipe=RECIPE)
    assert (tmp_path / "cut" / FINETUNED).read_bytes() == (tmp_path / "whole" / FINETUNED).read_bytes()


def test_a_training_of_something_else_is_not_gone_on_with(subject: Subject, tmp_path: Path) -> None:
    interrupted(subject, tmp_path / "cut", 0.3, epochs=3)
    other = Subject(subject.space, subject.space.smallest(), subject.bundle)
    with pytest.raises(TrainingError, match=r"was begun with something else \(arch\.\w+: .* then, .* now"):
        alone_flow(other, tmp_path / "cut", epochs=3, recipe=RECIPE)
    images = make_images(tmp_path / "images", side=32)  # under the same names
    other = Subject(subject.space, subject.arch, subject.bundle, str(images))
    with pytest.raises(TrainingError, match=r"was begun with something else \(content: \w+ then, \w+ now\)"):
        alone_flow(other, tmp_path / "cut", epochs=3, recipe=RECIPE)
    with pytest.raises(TrainingError, match=r"another recipe \(learning_rate: 0.004 then, 0.1 now"):
        alone_flow(subject, tmp_path / "cut", epochs=3, recipe=RECIPE | {"learning_rate": 0.1})


@pytest.mark.slow
def test_kill_9_at_any_moment_and_the_same_command_gives_the_same_network(
    stand: Path, stand_template: Path, tmp_path: Path
) -> None:
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    command = [
        sys.executable, "-c", "import sys; from nas_edge.cli.main import main; main(sys.argv[1:])", "train", "--alone",
        "largest", "--bundle", "tiny", "--recipe", "recipe.yaml", "--epochs", "12", "--out",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "whole")], env=environment, check=True)
    cut = tmp_path / "cut"
    for pause in (0.05, 0.2, 0.4):
        process = subprocess.Popen([*command, str(cut)], env=environment)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (cut / "work" / "checkpoint.safetensors").exists():
            time.sleep(0.01)
        time.sleep(pause)
        process.kill()
        process.wait()
    subprocess.run([*command, str(cut)], env=environment, check=True)
    assert (cut / FINETUNED).read_bytes() == (tmp_path / "whole" / FINETUNED).read_bytes()


def test_full_disk_while_the_best_weights_are_kept_loses_nothing(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas_edge.training.single import alone

    def full(path, tensors, about) -> None:
        raise StorageError(f"{path}: the disk is full")

    told: list[str] = []
    alone_flow(subject, tmp_path / "whole", epochs=2, recipe=RECIPE)
    monkeypatch.setattr(alone, "write_tensors", full)
    alone_flow(subject, tmp_path / "full", epochs=2, recipe=RECIPE, progress=lambda *note: told.append(note[2]))
    assert any("the disk is full" in note and "training goes on" in note for note in told)
    assert (tmp_path / "full" / FINETUNED).read_bytes() == (tmp_path / "whole" / FINETUNED).read_bytes()
    assert torch.get_num_threads() >= 1


def test_two_at_once_in_a_directory_are_kept_apart(subject: Subject, tmp_path: Path) -> None:
    other: list[str] = []

    def meanwhile(done: float, total: float, text: str) -> None:
        if text.startswith("epoch") and not other:
            with pytest.raises(ConfigError) as raised:
                alone_flow(subject, tmp_path / "run", epochs=1, recipe=RECIPE)
            other.append(str(raised.value))

    alone_flow(subject, tmp_path / "run", epochs=1, recipe=RECIPE, progress=meanwhile)
    assert "another nas-edge is at work there" in other[0]
    assert evaluate_flow(str(tmp_path / "run")).images == 24
