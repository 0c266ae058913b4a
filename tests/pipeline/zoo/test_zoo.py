"""`zoo pull` and `zoo import` against a server on this machine that is cut off, lies, or is not there."""

from __future__ import annotations

import hashlib
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas_edge.accuracy import AccuracyPredictor
from nas_edge.errors import ConfigError, DataError, DeviceError, FormatError, SpaceError, StorageError, UnknownNameError
from nas_edge.files import make_directory, write_yaml
from nas_edge.pipeline.accuracy_flow import measure_accuracy
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.evaluate_flow import evaluate_flow
from nas_edge.pipeline.learning.teaching import find_teacher
from nas_edge.pipeline.running.directory import held
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.zoo import flow, published
from nas_edge.pipeline.zoo.fetching import _copy, fetch
from nas_edge.pipeline.zoo.flow import import_flow, pull_flow
from nas_edge.pipeline.zoo.published import BASE_VARIABLE, Published
from nas_edge.progress import silent
from nas_edge.spaces import SearchSpace, Template, preset
from nas_edge.supernet.supernet import Supernet
from tests.accuracy.test_once_for_all import network


class Server:
    """Serves files of a directory, with ranges and ETags; can break off after some bytes, and misbehave.

    Attributes:
        breaks_after: bytes of an answer's body that are sent before the connection is closed; None for all.
        ranges: whether it honours the Range header.
        shifted: bytes by which a range begins elsewhere than was asked for.
        asked: Range headers, one a request.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.breaks_after, self.ranges, self.shifted, self.asked = root, None, True, 0, []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *arguments) -> None:
        self.own = server
        super().__init__(*arguments)

    def log_message(self, *arguments) -> None:
        pass

    def answer(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def do_GET(self) -> None:
        path = self.own.root / self.path.lstrip("/")
        wanted = self.headers.get("Range")
        self.own.asked.append(wanted)
        if not path.is_file():
            self.send_error(404, "Not Found")
            return
        data = path.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.own.ranges else 0
        if start >= len(data):
            self.answer(416, Content_Range=f"bytes */{len(data)}", ETag=tag)
            return
        sent = data[max(0, start + self.own.shifted if start else 0) :]
        ranged = {"Content_Range": f"bytes {len(data) - len(sent)}-{len(data) - 1}/{len(data)}"} if start else {}
        self.answer(206 if start else 200, Content_Length=len(sent), ETag=tag, **ranged)
        self.wfile.write(sent if self.own.breaks_after is None else sent[: self.own.breaks_after])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    root = tmp_path / "served"
    root.mkdir()
    server = Server(root)
    yield server
    server.http.shutdown()
    server.http.server_close()


def served(server: Server, name: str, size: int = 300_000) -> tuple[str, str, bytes]:
    data = bytes(range(256)) * (size // 256)
    (server.root / name).write_bytes(data)
    return f"{server.url}/{name}", hashlib.sha256(data).hexdigest(), data


def test_a_cut_download_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    url, digest, data = served(server, "weights")
    server.breaks_after = 100_000
    with pytest.raises(DeviceError, match=r"cannot be fetched .*100,000 bytes are kept, the same command goes on"):
        fetch(url, tmp_path / "weights", digest)
    assert not (tmp_path / "weights").exists()
    server.breaks_after = None
    assert fetch(url, tmp_path / "weights", digest) == digest
    assert (tmp_path / "weights").read_bytes() == data
    assert server.asked == [None, "bytes=100000-"]
    assert not list(tmp_path.glob("*.part*"))


def cut(server: Server, url: str, path: Path, after: int = 5000) -> None:
    """A download that broke off."""
    server.breaks_after = after
    with pytest.raises(DeviceError):
        fetch(url, path, None)
    server.breaks_after = None
    assert path.with_name(f"{path.name}.part").stat().st_size == after


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    url, digest, data = served(server, "weights")
    cut(server, url, tmp_path / "weights")
    server.ranges = False
    fetch(url, tmp_path / "weights", digest)
    assert (tmp_path / "weights").read_bytes() == data


def test_a_download_that_was_whole_but_not_yet_checked_is_taken(server: Server, tmp_path: Path) -> None:
    url, digest, data = served(server, "weights")
    cut(server, url, tmp_path / "weights")
    (tmp_path / "weights.part").write_bytes(data)
    assert fetch(url, tmp_path / "weights", None) == digest
    assert server.asked == [None, f"bytes={len(data)}-"]


@pytest.mark.parametrize("change", ["another file", "a shorter file", "another part"])
def test_parts_of_different_files_are_never_put_together(server: Server, tmp_path: Path, change: str) -> None:
    url, _, data = served(server, "weights")
    cut(server, url, tmp_path / "weights", 100_000)
    if change == "another part":
        server.shifted = 7
    else:
        data = data[::-1][: 90_000 if change == "a shorter file" else None]
        (server.root / "weights").write_bytes(data)
    fetch(url, tmp_path / "weights", None)  # nobody names a checksum: only the server can say
    assert (tmp_path / "weights").read_bytes() == data


def test_damage_on_the_disk_is_noticed_without_a_published_checksum(server: Server, tmp_path: Path) -> None:
    url, digest, data = served(server, "weights")
    assert fetch(url, tmp_path / "weights", None) == digest
    (tmp_path / "weights").write_bytes(data[:-1] + b"x")
    with pytest.raises(FormatError, match=r"has another checksum .* and was removed; run the command again"):
        fetch(url, tmp_path / "weights", None)
    assert fetch(url, tmp_path / "weights", None) == digest


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_as_such(server: Server, tmp_path: Path) -> None:
    url, *_ = served(server, "weights")
    (tmp_path / "weights.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        _copy(urllib.request.urlopen(url), tmp_path / "weights.part", 0, "weights", silent)


def test_another_checksum_is_told_and_the_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    url, _, _ = served(server, "weights")
    with pytest.raises(FormatError, match="has another checksum"):
        fetch(url, tmp_path / "weights", "0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]  # neither the file nor what was noted of it


def test_a_file_that_is_there_is_checked_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    url, digest, _ = served(server, "weights")
    fetch(url, tmp_path / "weights", digest)
    fetch(url, tmp_path / "weights", digest)
    assert len(server.asked) == 1


def test_no_network_and_no_such_file_are_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"http://127\.0\.0\.1:9/x: cannot be fetched \(.*refused"):
        fetch("http://127.0.0.1:9/x", tmp_path / "x", None)
    with pytest.raises(DeviceError, match=r"cannot be fetched \(HTTP 404, Not Found\)"):
        fetch(f"{server.url}/absent", tmp_path / "x", None)
    with pytest.raises(ConfigError, match="an address begins with"):
        fetch("ftp://host/x", tmp_path / "x", None)


def offer(monkeypatch: pytest.MonkeyPatch, server: Server, cache: Path, entry: Published) -> None:
    """Let `pull` find one entry, on the server of the test."""
    monkeypatch.setattr(flow, "published", {entry.name: entry}.__getitem__)
    monkeypatch.setenv(BASE_VARIABLE, server.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def weights(tiny_template: Template) -> Supernet:
    torch.manual_seed(0)
    return Supernet(tiny_template, 3)


def test_published_weights_become_a_bundle_that_computes_the_same(
    server: Server, tmp_path: Path, tiny_template: Template, weights: Supernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_template.to_dict()))
    (server.root / "nets").mkdir()
    torch.save({"state_dict": weights.state_dict()}, server.root / "nets" / "tiny_net")
    entry = Published("tiny", "nets/tiny_net", str(tmp_path / "tiny.yaml"), "made for a test", "Apache-2.0")
    offer(monkeypatch, server, tmp_path / "cache", entry)
    report = pull_flow("tiny", tmp_path / "bundle")
    bundle = load_bundle(report.out)
    assert (bundle.num_classes, report.calibrated) == (3, False)
    assert bundle.header["init"]["licence"] == "Apache-2.0"
    assert bundle.header["init"]["sha256"] == report.sha256
    images = torch.randn(2, 3, 32, 32)
    arch = bundle.space.smallest()
    with torch.no_grad():
        assert torch.equal(bundle.supernet()(images, arch), weights.eval()(images, arch))
    with pytest.raises(ConfigError, match="holds a bundle already"):
        pull_flow("tiny", tmp_path / "bundle")
    pull_flow("tiny", tmp_path / "second")
    assert len(server.asked) == 1  # the file is kept


def test_a_checkpoint_of_another_space_leaves_nothing_behind(tmp_path: Path, weights: Supernet) -> None:
    torch.save(weights.state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(FormatError, match=r"of space 'mcu'|not the"):
        import_flow(tmp_path / "tiny.pth", "mcu", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_of_classes_are_counted(tmp_path: Path, weights: Supernet, tiny_template: Template) -> None:
    import yaml

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_template.to_dict()))
    torch.save(weights.state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(ConfigError, match="has 3 classes, not the 2"):
        import_flow(tmp_path / "tiny.pth", str(tmp_path / "tiny.yaml"), tmp_path / "out", classes=("a", "b"))


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_template: Template, weights: Supernet) -> tuple[Path, str]:
    """A file of weights, and that of their space."""
    write_yaml(tmp_path / "tiny.yaml", tiny_template.to_dict())
    torch.save(weights.state_dict(), tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth", str(tmp_path / "tiny.yaml")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of noise."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "eel"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_weights_without_images_are_evaluated_on_images_that_are_given(
    tmp_path: Path, checkpoint: tuple[Path, str], photos: Path
) -> None:
    import_flow(*checkpoint, tmp_path / "bare")
    with pytest.raises(DataError, match=r"'bare' ships no images, and its batch norms need some: .* --data photos/"):
        evaluate_flow(str(tmp_path / "bare"), arch="smallest")
    with pytest.raises(ConfigError, match="'bare' has no accuracy predictor: put one into it"):
        load_bundle(tmp_path / "bare").accuracy_predictor()
    with pytest.raises(ConfigError, match="'bare': none of its subnets is measured in fp32, which int8 is"):
        measure_accuracy(str(tmp_path / "bare"), data=str(photos))
    assert not (tmp_path / "bare" / "work").exists()
    with pytest.raises(DataError, match="teacher 'bare': none of its networks is measured; take a bundle by"):
        find_teacher(str(tmp_path / "bare"), load_bundle(tmp_path / "bare").space.template)
    found = evaluate_flow(str(tmp_path / "bare"), arch="smallest", data=str(photos))
    assert 0.0 <= found.accuracy <= 1.0
    shutil.rmtree(photos / "eel")
    with pytest.raises(DataError, match="classes cat, dog are not the bundle's"):
        evaluate_flow(str(tmp_path / "bare"), arch="smallest", data=str(photos))


def test_as_many_folders_as_classes_give_them_their_names(
    tmp_path: Path, checkpoint: tuple[Path, str], photos: Path
) -> None:
    import_flow(*checkpoint, tmp_path / "named", data=str(photos))
    bundle = load_bundle(tmp_path / "named")
    assert bundle.classes == ("cat", "dog", "eel")
    assert bundle.header["data"]["spec"] == str(photos)
    assert 0.0 <= evaluate_flow(str(tmp_path / "named"), arch="smallest").accuracy <= 1.0
    shutil.rmtree(photos / "eel")
    import_flow(*checkpoint, tmp_path / "other", data=str(photos))
    assert load_bundle(tmp_path / "other").classes == ("0", "1", "2")


def test_what_nobody_has_measured_is_searched_by_a_prior_and_by_what_is_measured(
    tmp_path: Path, checkpoint: tuple[Path, str], weights: Supernet, photos: Path
) -> None:
    import_flow(*checkpoint, tmp_path / "mine", data=str(photos))
    macs = float(weights.space.macs(weights.space.largest()[None], 3)[0])
    request = SearchRequest(
        target="local", bundle=str(tmp_path / "mine"), accuracy_predictor="zero-cost:naswot", evaluate=12, macs=macs,
        verify=False, evaluations=500, out=tmp_path / "run",
    )  # fmt: skip
    report = search_flow(request)
    assert any("measured" in note for note in report.notes)
    assert 0.0 <= report.accuracy.predicted <= 1.0


def test_an_unknown_name_is_told_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean ofa-mbv3-w1\.0"):
        pull_flow("ofa-mbv3-w10")
    assert all(published.published(name).url.startswith("https://") for name in published.published_names())


def test_a_page_in_the_place_of_weights_is_not_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Supernet, tiny_template: Template
) -> None:
    import yaml

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_template.to_dict()))
    (server.root / "net").write_bytes(b"<html>Please log in to this network</html>")
    entry = Published("tiny", "net", str(tmp_path / "tiny.yaml"), "made for a test", "Apache-2.0")
    offer(monkeypatch, server, tmp_path / "cache", entry)
    with pytest.raises(FormatError, match=r"is no checkpoint: it begins with .*\(from http://127.*; it was removed\)"):
        pull_flow("tiny", tmp_path / "bundle")
    torch.save(weights.state_dict(), server.root / "net")
    assert pull_flow("tiny", tmp_path / "bundle").space == "tiny"


def test_a_checksum_may_be_asked_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Supernet
) -> None:
    torch.save(weights.state_dict(), server.root / "net")
    offer(monkeypatch, server, tmp_path / "cache", Published("tiny", "net", "mcu", "", ""))
    with pytest.raises(FormatError, match="has another checksum"):
        pull_flow("tiny", tmp_path / "bundle", sha256="0" * 64)
    with pytest.raises(ConfigError, match="is not a checksum of 64"):
        pull_flow("tiny", tmp_path / "bundle", sha256="0x12")
    assert not (tmp_path / "bundle").exists()


def test_a_mistyped_checksum_costs_no_file_that_is_as_it_was_fetched(server: Server, tmp_path: Path) -> None:
    url, digest, _ = served(server, "weights")
    fetch(url, tmp_path / "weights", None)
    with pytest.raises(FormatError, match="is as it was fetched, but its checksum is"):
        fetch(url, tmp_path / "weights", "0" * 64)
    assert fetch(url, tmp_path / "weights", digest.upper()) == digest
    assert len(server.asked) == 1


def test_the_intermediate_checkpoints_say_which_networks_they_were_trained_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name in published.published_names() if name.startswith("ofa-mbv3-w1.0-")]
    assert len(names) == 5
    entry = published.published("ofa-mbv3-w1.0-d4-e6-k7")
    offer(monkeypatch, server, tmp_path / "cache", entry)
    path = server.root / entry.path
    path.parent.mkdir(parents=True)
    state = Supernet(preset("ofa-mbv3-w1.0"), 3).state_dict()
    # As the first phase saved it: plain layers, blocks by their old name, no kernel matrices.
    plain = {
        key.replace(".conv.inverted", ".mobile_inverted_conv.inverted")
        .replace(".conv.depth", ".mobile_inverted_conv.depth")
        .replace(".conv.point", ".mobile_inverted_conv.point")
        .replace(".bn.bn.", ".bn.")
        .replace(".conv.conv.", ".conv."): tensor
        for key, tensor in state.items()
        if not key.endswith("_matrix")
    }
    torch.save({"epoch": 179, "state_dict": plain}, path, _use_new_zipfile_serialization=False)  # as torch 1.2 wrote
    report = pull_flow(entry.name, tmp_path / "bundle")
    assert "--fix d=4 --fix e=6 --fix k=7" in "\n".join(report.lines())
    header = load_bundle(tmp_path / "bundle").header
    assert header["init"]["trained_for"] == ["d=4", "e=6", "k=7"]
    loaded = load_bundle(tmp_path / "bundle").supernet().state_dict()
    for key, tensor in state.items():
        assert key.endswith("num_batches_tracked") or torch.equal(loaded[key], tensor), key


OFA = SearchSpace.named("ofa-mbv3-w1.2")


@pytest.fixture
def predictor(tmp_path: Path) -> Path:
    torch.save(network(seed=3).state_dict(), tmp_path / "acc_predictor.pth")
    return tmp_path / "acc_predictor.pth"


def test_an_accuracy_predictor_becomes_a_file_of_ours(predictor: Path, tmp_path: Path) -> None:
    from nas_edge.accuracy.once_for_all import load_accuracy_predictor

    report = import_flow(predictor, "ofa-mbv3-w1.2", tmp_path / "acc.npz")
    assert "--space ofa-mbv3-w1.2 --accuracy-predictor" in report.lines()[-1]
    known = OFA.restrict(resolutions=(128, 144, 160, 176, 192, 208, 224))
    ours, theirs = AccuracyPredictor.read(tmp_path / "acc.npz", OFA), load_accuracy_predictor(predictor, known)
    rows = known.sample(50, np.random.default_rng(0))
    assert np.array_equal(ours.predict(rows), theirs.predict(rows))
    column, between = OFA.columns["r"], OFA.template.resolutions.index(140) + 1
    rows[:, column] = between  # as their own encoding has it
    lower = rows.copy()
    lower[:, column] = OFA.template.resolutions.index(128) + 1
    assert np.array_equal(ours.predict(rows), ours.predict(lower))
    with pytest.raises(ConfigError, match="is there already"):
        import_flow(predictor, "ofa-mbv3-w1.2", tmp_path / "acc.npz")
    with pytest.raises(ConfigError, match=r"goes into a \.npz file, or into the directory of a bundle"):
        import_flow(predictor, "ofa-mbv3-w1.2", tmp_path / "acc")
    with pytest.raises(SpaceError, match="is for 20 blocks, the space has 15"):
        import_flow(predictor, "lite0", tmp_path / "other.npz")


def test_two_processes_do_not_fetch_into_one_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, tmp_path / "cache", published.published("ofa-mbv3-w1.0"))
    kept = make_directory(tmp_path / "cache" / "nas-edge" / "zoo")
    with held(kept), pytest.raises(ConfigError, match="another nas-edge is at work there; wait until it ends"):
        pull_flow("ofa-mbv3-w1.0", tmp_path / "bundle")
    assert not server.asked


def test_images_beside_a_predictor_are_refused_before_anything_is_fetched(
    predictor: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"is an accuracy predictor, which needs no images; leave --data out"):
        import_flow(predictor, "ofa-mbv3-w1.2", tmp_path / "acc.npz", data="photos/")
    assert not (tmp_path / "acc.npz").exists()
    offer(monkeypatch, server, tmp_path / "cache", published.published("ofa-accuracy-predictor"))
    with pytest.raises(ConfigError, match="leave --data out"):
        pull_flow("ofa-accuracy-predictor", tmp_path / "acc.npz", data="photos/")
    assert not server.asked


def test_the_published_predictor_is_held_to_the_checksum_of_the_published_file(shared_dir: Path) -> None:
    known = published.published("ofa-accuracy-predictor").sha256
    assert hashlib.sha256((shared_dir / "data" / "ofa" / "acc_predictor.pth").read_bytes()).hexdigest() == known


def test_an_accuracy_predictor_within_a_bundle_is_what_it_searches_by(predictor: Path, tmp_path: Path) -> None:
    torch.save(Supernet(preset("ofa-mbv3-w1.2"), 3).state_dict(), tmp_path / "net.pth")
    import_flow(tmp_path / "net.pth", "ofa-mbv3-w1.2", tmp_path / "bundle")
    import_flow(predictor, "ofa-mbv3-w1.2", tmp_path / "bundle", licence="MIT")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.header["accuracy_predictor"]["licence"] == "MIT"
    rows = OFA.sample(5, np.random.default_rng(0))
    assert np.isfinite(bundle.accuracy_predictor().predict(rows)).all()
