"""`zoo pull` and `zoo import` against a server on this machine that is cut off, lies, or is not there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from nas_edge.errors import ConfigError, DeviceError, FormatError, UnknownNameError
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.zoo import flow, published
from nas_edge.pipeline.zoo.fetching import fetch
from nas_edge.pipeline.zoo.flow import import_flow, pull_flow
from nas_edge.pipeline.zoo.published import BASE_VARIABLE, Published
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet


class Server:
    """Serves files of a directory, with ranges; can break off after some bytes.

    Attributes:
        breaks_after: bytes of an answer's body that are sent before the connection is closed; None for all.
        ranges: whether it honours the Range header.
        asked: Range headers, one a request.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.breaks_after, self.ranges, self.asked = root, None, True, []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *arguments) -> None:
        self.own = server
        super().__init__(*arguments)

    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        path = self.own.root / self.path.lstrip("/")
        wanted = self.headers.get("Range")
        self.own.asked.append(wanted)
        if not path.is_file():
            self.send_error(404, "Not Found")
            return
        data, start = path.read_bytes(), 0
        if wanted and self.own.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        self.wfile.write(body if self.own.breaks_after is None else body[: self.own.breaks_after])


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
    assert not list(tmp_path.glob("*.part"))


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    url, digest, data = served(server, "weights")
    (tmp_path / "weights.part").write_bytes(data[:5000])
    server.ranges = False
    fetch(url, tmp_path / "weights", digest)
    assert (tmp_path / "weights").read_bytes() == data


def test_a_download_that_was_whole_but_not_yet_checked_is_taken(server: Server, tmp_path: Path) -> None:
    url, digest, data = served(server, "weights")
    (tmp_path / "weights.part").write_bytes(data)
    assert fetch(url, tmp_path / "weights", digest) == digest


def test_another_checksum_is_told_and_the_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    url, _, _ = served(server, "weights")
    with pytest.raises(FormatError, match="has another checksum"):
        fetch(url, tmp_path / "weights", "0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


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
    monkeypatch.setattr(flow, "published", {"tiny": entry}.__getitem__)
    monkeypatch.setenv(BASE_VARIABLE, server.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
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


def test_an_unknown_name_is_told_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean ofa-mbv3-w1\.0"):
        pull_flow("ofa-mbv3-w10")
    assert all(published.published(name).url.startswith("https://") for name in published.published_names())
