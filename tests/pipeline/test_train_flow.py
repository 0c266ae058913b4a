"""From a folder of images to a bundle that is searched, evaluated and fine-tuned; killed and resumed on the way."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
import yaml

from nas_edge.accuracy import read_accuracy
from nas_edge.errors import ConfigError, DataError, SpaceError, TrainingError, UnknownNameError
from nas_edge.pipeline.bundle import ACCURACY, load_bundle
from nas_edge.pipeline.evaluate_flow import evaluate_flow
from nas_edge.pipeline.exporting.flow import export_flow
from nas_edge.pipeline.learning import train_flow as flow
from nas_edge.pipeline.learning.beginning import BEGINNING
from nas_edge.pipeline.learning.finetuning import finetune_flow
from nas_edge.pipeline.learning.measuring import JOURNAL, PLAN
from nas_edge.pipeline.learning.train_flow import TrainReport, read_recipe, train_flow
from nas_edge.pipeline.networks import FINETUNED
from nas_edge.pipeline.running.pipelines import read_pipeline
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Template
from nas_edge.spreading.processes import Processes
from tests.bundles import make_images
from tests.spreading.work import Squares, marked

RECIPE = {"batch_size": 12, "teacher_epochs": 1, "learning_rate": 0.004, "mixup": 0.0, "bf16": False}
SUBNETS = 36


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, tiny_template: Template) -> Path:
    """A folder with images and a space of its own."""
    root = tmp_path_factory.mktemp("train")
    make_images(root / "images")
    (root / "space.yaml").write_text(yaml.safe_dump(tiny_template.to_dict()))
    return root


@pytest.fixture(scope="module")
def trained(work: Path) -> Path:
    out = work / "colours"
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # sums depend on the number of threads, and a killed run is compared byte by byte
    train_flow(str(work / "images"), str(work / "space.yaml"), out, epochs=4, recipe=RECIPE, subnets=SUBNETS)
    torch.set_num_threads(before)
    return out


def test_a_bundle_has_all_that_a_search_needs(trained: Path) -> None:
    bundle = load_bundle(trained)
    assert (bundle.name, bundle.classes) == ("colours", ("apple", "brick", "cloud"))
    measured = read_accuracy(trained / ACCURACY, bundle.space)
    assert len(measured) == SUBNETS
    assert measured.views[0] == 8  # no vertical mirroring in the default recipe: two flips, four zooms
    assert len(measured.with_role("holdout")) == 9
    assert 0 <= bundle.accuracy_predictor().predict(bundle.space.largest()[None])[0] <= 1.2
    figures = bundle.header["figures"]
    assert figures["search_split"]["largest"]["accuracy"] > 0.6
    assert bundle.header["recipe"]["epochs"] == 4
    assert set(bundle.header["data"]["sha256"]) == {"train", "search", "test"}
    assert not (trained / "work").exists()


def test_the_course_of_the_training_stays_with_the_bundle(trained: Path) -> None:
    assert [row["epoch"] for row in csv.DictReader((trained / "history.csv").open())] == ["1", "2", "3", "4"]
    (events,) = (trained / "events").iterdir()  # where `tensorboard --logdir` finds them
    assert b"largest" in events.read_bytes()


def test_a_training_that_was_cut_short_says_so(trained: Path) -> None:
    header = load_bundle(trained).header
    assert header["trained"]["cut_short"] is False
    assert not any("cut it short" in line for line in TrainReport(trained, header).lines())
    cut = header | {"trained": header["trained"] | {"cut_short": True}}
    assert "  trained for 4 epochs: a time limit cut it short" in TrainReport(trained, cut).lines()


def test_the_largest_is_evaluated_as_it_was_in_training(trained: Path) -> None:
    stored = load_bundle(trained).header["figures"]["search_split"]["largest"]
    assert evaluate_flow(str(trained), "largest").accuracy == pytest.approx(stored["accuracy"], abs=1e-4)


def test_a_finished_bundle_is_not_trained_over(work: Path, trained: Path) -> None:
    with pytest.raises(ConfigError, match="holds a finished bundle"):
        train_flow(str(work / "images"), str(work / "space.yaml"), trained)


def test_an_unknown_key_of_a_recipe_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("epochs: 3\naugmentation:\n  cutuot: 0.1\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml:3: unknown key 'cutuot'; did you mean 'cutout'"):
        read_recipe(path)
    path.write_text("format: 1\nsteps:\n  - train:\n      data: x\n      recipe: {learning_rat: 1}\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml:5: .*unknown key 'learning_rat'"):
        read_pipeline(path)


def test_a_space_of_too_few_networks_is_refused_before_it_is_trained(work: Path, tiny_template: Template) -> None:
    few = {"kernels": [3], "expands": [2, 3], "depths": [1]}
    plain = tiny_template.to_dict()
    plain |= {"stages": [stage | few for stage in plain["stages"]], "resolutions": plain["resolutions"][:1]}
    (work / "few.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(SpaceError, match=r"has \d+ networks, too few to choose among"):
        train_flow(str(work / "images"), str(work / "few.yaml"), work / "few")
    assert not (work / "few").exists()


def test_bad_requests_leave_nothing_behind(work: Path) -> None:
    with pytest.raises(UnknownNameError, match="pretrained start"):
        train_flow(str(work / "images"), str(work / "space.yaml"), work / "never", init="resnet")
    assert not (work / "never").exists()


def test_finetuning_keeps_better_weights_and_says_what_it_did(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = SearchRequest(target="jetson", bundle=str(trained), macs=1e6, verify=False, evaluations=500)
    run = search_flow(request).run
    report = finetune_flow(run, epochs=3)
    assert report.kept == (report.after[0] >= report.before[0])
    assert (run / FINETUNED).exists() == report.kept
    assert not (run / "finetune").exists()
    after = report.after[0] if report.kept else report.before[0]
    assert evaluate_flow(str(run), None).accuracy == pytest.approx(after, abs=1e-4)


def test_training_for_int8_is_judged_in_int8_and_exported_as_such(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = SearchRequest(target="raspberry-pi-4", bundle=str(trained), macs=1e6, verify=False, evaluations=500)
    run = search_flow(request).run
    report = finetune_flow(run, epochs=2, qat=True)
    assert "int8 weights have 8 bits, as the target raspberry-pi-4 says" in report.notes[0]
    assert report.precision == report.to_json()["precision"] == "int8"
    assert "in int8" in report.lines()[0]
    if report.kept:
        exported = export_flow(run, precision="int8").quantisation
        assert exported is not None
        assert exported.after == pytest.approx(report.after[0], abs=1e-4)


def test_kill_9_at_any_moment_and_the_same_command_gives_the_same_bundle(work: Path, trained: Path) -> None:
    out = work / "again"
    recipe = work / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"epochs": 4}))
    code = (
        "import sys, torch, yaml; from pathlib import Path\n"
        "from nas_edge.pipeline.learning.train_flow import train_flow\n"
        f"torch.set_num_threads(1); recipe = yaml.safe_load(Path({str(recipe)!r}).read_text())\n"
        f"train_flow({str(work / 'images')!r}, {str(work / 'space.yaml')!r}, Path({str(out)!r}), recipe=recipe, "
        f"name='colours', subnets={SUBNETS})"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for pause in (0.3, 0.9, 0.0):
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        deadline = time.monotonic() + 60
        while pause and time.monotonic() < deadline and not (out / "work").exists():
            time.sleep(0.02)
        if pause:
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=120)
    assert process.returncode == 0
    for name in ("supernet.safetensors", "accuracy.csv", "calibration.zip", "space.yaml"):
        assert (out / name).read_bytes() == (trained / name).read_bytes(), name
    assert load_bundle(out).header["figures"].keys() == load_bundle(trained).header["figures"].keys()


def test_a_bundle_starts_and_teaches_another(work: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = work / "pupil"
    spent = iter((7200.0, 7200.0 + 1800.0))  # CPU seconds of this process, most of them before
    monkeypatch.setattr(flow, "_cpu_s", lambda: next(spent))
    report = train_flow(
        str(work / "images"), str(work / "space.yaml"), out, epochs=1, recipe=RECIPE, subnets=SUBNETS,
        init=str(trained), teacher=str(trained),
    )  # fmt: skip
    header = report.header
    assert header["trained"]["last_sitting_cpu_hours"] == 0.5
    assert header["init"]["name"] == "colours"
    assert "bundle 'colours'" in header["init"]["source"]
    measured = read_accuracy(trained / ACCURACY, load_bundle(trained).space)
    assert header["teacher"]["accuracy"] == pytest.approx(measured.accuracy.max(), abs=1e-4)
    # One epoch at the teacher's side of things is as good as the four that the teacher had.
    assert header["figures"]["search_split"]["largest"]["accuracy"] > 0.6


def test_cpu_time_is_that_of_workers_as_well_also_where_they_are_ended_early(tmp_path: Path) -> None:
    before, own = flow._cpu_s(), time.process_time()
    with closing(Processes(2).run(Squares(marked(tmp_path)), range(9))) as results:
        next(results)
    assert flow._cpu_s() - before - (time.process_time() - own) > 0.03  # to start Python takes longer


def test_a_teacher_of_other_classes_is_refused(work: Path) -> None:
    with pytest.raises(DataError, match=r"teacher 'trashnet' knows cardboard, .*; the images are of apple"):
        train_flow(str(work / "images"), "lite0", work / "never", teacher="trashnet")
    assert not (work / "never").exists()


def test_what_a_training_was_begun_with_is_not_swapped_under_it(work: Path, tmp_path: Path) -> None:
    class Cut(Exception):
        """Stands for a process that ends without a word."""

    def die(done: float, total: float, text: str) -> None:
        if text.startswith("epoch 2"):
            raise Cut

    begun = {"data": str(work / "images"), "space": str(work / "space.yaml"), "recipe": RECIPE | {"epochs": 4}}
    out = tmp_path / "out"

    def go_on(**changes) -> None:
        train_flow(**(begun | changes), out=out, subnets=SUBNETS, progress=die)

    with pytest.raises(Cut):
        go_on()
    others = make_images(tmp_path / "others", train=12)
    with pytest.raises(TrainingError, match=r"images\.train: 48 pictures, \w+ then, 36 .*another --out"):
        go_on(data=str(others))
    smaller = make_images(tmp_path / "smaller", side=32)  # under the same names
    with pytest.raises(TrainingError, match=r"something else \(images\.content: \w+ then, \w+ now\); use that"):
        go_on(data=str(smaller))
    with pytest.raises(TrainingError, match=r"space\.resolutions: \[32, 48\] then, \[32\] now"):
        go_on(resolutions=(32,))
    with pytest.raises(TrainingError, match=r"another recipe \(learning_rate: 0\.004 then, 0\.5 now\)"):
        go_on(recipe=begun["recipe"] | {"learning_rate": 0.5})
    with pytest.raises(Cut):
        go_on()


def test_a_second_process_changes_nothing_where_one_is_at_work(work: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        """Stands for a process that ends without a word."""

    others, out = make_images(tmp_path / "others", train=12), tmp_path / "out"

    def trained_on(data: Path, progress: Progress) -> None:
        train_flow(str(data), str(work / "space.yaml"), out, epochs=1, recipe=RECIPE, progress=progress)

    def meanwhile(done: float, total: float, text: str) -> None:
        if "views" in text:  # all is planned, nothing is saved yet
            before = {path: path.read_bytes() for path in (out / "work").iterdir()}
            assert {path.name for path in before} >= {BEGINNING, PLAN}
            with pytest.raises(ConfigError, match="another nas-edge is at work there"):
                trained_on(others, silent)
            with pytest.raises(ConfigError, match="its training is not finished"):
                load_bundle(out)
            assert {path: path.read_bytes() for path in (out / "work").iterdir()} == before
            raise Enough

    with pytest.raises(Enough):
        trained_on(work / "images", meanwhile)


def test_before_anything_was_trained_another_training_has_its_own_plan(work: Path, tmp_path: Path) -> None:
    class Planned(Exception):
        """Ends a training before its first step."""

    out, told = tmp_path / "out", list[str]()
    (out / "work").mkdir(parents=True)
    (out / "work" / JOURNAL).write_text("of weights that are no more")

    def planned(done: float, total: float, text: str) -> None:
        if "views" in text:
            told.append(text)
            raise Planned

    for subnets in (36, 40):
        with pytest.raises(Planned):
            train_flow(str(work / "images"), str(work / "space.yaml"), out, subnets=subnets, progress=planned)
        assert not (out / "work" / JOURNAL).exists()
    for subnets, text in zip((36, 40), told, strict=True):
        assert f"measure {subnets} subnets" in text
