"""Subnets evaluated here, in processes and on a cluster: the same answers, bit for bit."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_edge.data import Dataset, Preprocess, Split, load_dataset
from nas_edge.data.images import ArrayImages, JoinedImages
from nas_edge.data.portable import PortableSplit
from nas_edge.errors import DataError
from nas_edge.spaces import Precision, Template
from nas_edge.spreading import Spread
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.measuring.evaluate import PLAIN, Evaluator, fixed_views
from nas_edge.training.measuring.subnet_work import OpenSubnets, one_thread
from nas_edge.training.measuring.subnets import answers_of_subnets, choose_subnets, measure_subnets
from tests.bundles import make_images

VIEWS = fixed_views(4, True, False)
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def net(striped_template: Template) -> Supernet:
    torch.manual_seed(0)
    net = Supernet(striped_template, 2)
    for name, tensor in net.state_dict().items():
        if name.endswith("matrix"):  # what a transform of kernels learns goes along as well
            tensor.add_(0.05 * torch.randn_like(tensor))
    return net.eval()


def measured(net: Supernet, dataset: Dataset, journal: Path, spread: Spread, precision: Precision = Precision.FP32):
    population = choose_subnets(net.space, 2, 8 if precision is Precision.FP32 else 2, seed=1)
    evaluator = Evaluator(dataset.train, Preprocess())
    return answers_of_subnets(net, evaluator, dataset.search, population, VIEWS, journal, precision, spread=spread)


def lines_of(journal: Path) -> list[str]:
    return sorted(journal.read_text().splitlines())


@pytest.mark.parametrize(
    ("workers", "precision"),
    [(2, Precision.FP32), pytest.param(3, Precision.FP32, marks=SLOW), pytest.param(2, Precision.INT8, marks=SLOW)],
)
def test_one_worker_and_several_give_the_same_bits(
    net: Supernet, dataset: Dataset, tmp_path: Path, workers: int, precision: Precision
) -> None:
    here = measured(net, dataset, tmp_path / "1", Spread(workers=1), precision)
    assert 0.2 < here.mean() < 0.8
    there = measured(net, dataset, tmp_path / "n", Spread(workers=workers), precision)
    assert (there == here).all()
    assert lines_of(tmp_path / "n") == lines_of(tmp_path / "1")


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits(net: Supernet, dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra 'cluster'")
    here = measured(net, dataset, tmp_path / "1", Spread(workers=1))
    assert (measured(net, dataset, tmp_path / "ray", Spread(cluster="ray")) == here).all()


def test_figures_do_not_depend_on_the_threads_of_the_process(net: Supernet, dataset: Dataset, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found[threads] = measured(net, dataset, tmp_path / str(threads), Spread(workers=1))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert (found[1] == found[2]).all()


def test_an_interrupted_measurement_over_processes_goes_on(net: Supernet, dataset: Dataset, tmp_path: Path) -> None:
    population, evaluator = choose_subnets(net.space, 2, 8, seed=1), Evaluator(dataset.train, Preprocess())
    arguments = (net, evaluator, dataset.search, population, VIEWS, tmp_path / "journal")

    def stop(done: float, total: float, text: str) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answers_of_subnets(*arguments, progress=stop, spread=Spread(workers=2))
    kept = (tmp_path / "journal").read_text().splitlines()
    assert len(kept) == 3
    told: list[float] = []
    found = answers_of_subnets(
        *arguments, progress=lambda done, total, text: told.append(done), spread=Spread(workers=2)
    )
    assert told == [3, 4, 5, 6, 7, 8]
    assert (found == measured(net, dataset, tmp_path / "whole", Spread(workers=1))).all()
    assert (tmp_path / "journal").read_text().splitlines()[:3] == kept


def test_a_time_limit_leaves_out_what_is_not_measured_by_then(net: Supernet, dataset: Dataset, tmp_path: Path) -> None:
    population, evaluator = choose_subnets(net.space, 2, 12, seed=1), Evaluator(dataset.train, Preprocess())
    arguments = (net, evaluator, dataset.search, population, 3, PLAIN)
    cut = measure_subnets(*arguments, tmp_path / "cut", time_limit_s=0.0, least=8)
    assert len(cut) == 8
    assert cut.roles == ("train",) * 6 + ("holdout",) * 2
    whole = measure_subnets(*arguments, tmp_path / "whole", time_limit_s=600.0)
    assert (whole.bits[:8] == cut.bits).all()
    assert len(whole) == 12


def test_what_is_sent_holds_no_code_but_ours_and_no_picture_that_lies_on_disk(net: Supernet, tmp_path: Path) -> None:
    dataset = load_dataset(make_images(tmp_path / "images"))
    work = OpenSubnets(net, Evaluator(dataset.train, Preprocess()), dataset.search, PLAIN, Precision.FP32)
    # Pickles here and below are this test's own objects: processes and Ray send tasks so. No file is read by pickle.
    sent = pickle.dumps(work)
    picture = next((tmp_path / "images" / "val" / "apple").iterdir()).read_bytes()
    assert picture not in sent
    assert picture in pickle.dumps(work.elsewhere())
    arch = net.space.smallest()
    with work.opened() as here, pickle.loads(sent).opened() as there:
        assert (here(arch) == there(arch)).all()
        wanted = here(arch)
    far = pickle.loads(pickle.dumps(work.elsewhere()))
    (tmp_path / "images").rename(tmp_path / "moved")
    with far.opened() as elsewhere:
        assert (elsewhere(arch) == wanted).all()


def test_pictures_of_every_kind_arrive_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = load_dataset(make_images(tmp_path / "images")).search
    arrays = ArrayImages(rng.integers(0, 255, (7, 20, 20, 3), dtype=np.uint8), "made")
    joined = JoinedImages((arrays, folder.source, arrays))
    mixed = Split(joined, np.array([3, 9, 8, 2, len(joined) - 1]), np.array([0, 1, 1, 0, 2]))
    for split in (folder, Split(arrays, np.array([5, 0]), np.array([1, 0])), mixed):
        wanted = split.images(Preprocess(), 24)
        for along in (False, True):
            # Only what this test made, sent as between processes.
            got = pickle.loads(pickle.dumps(PortableSplit.of(split, along=along))).split()
            assert (got.images(Preprocess(), 24) == wanted).all()
            assert (got.labels == split.labels).all()
            assert got.names[0].rpartition("/")[2]


def test_too_many_pictures_for_a_cluster_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_edge.data.portable.MOST_BYTES", 5000)
    split = load_dataset(make_images(tmp_path / "images")).search
    with pytest.raises(DataError, match="24 pictures are more than the 0 MB that are sent"):
        PortableSplit.of(split, along=True)
    PortableSplit.of(split, along=False)


def test_threads_are_put_back_even_after_an_error() -> None:
    def fail() -> None:
        with one_thread():
            assert torch.get_num_threads() == 1
            raise ZeroDivisionError

    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == before
