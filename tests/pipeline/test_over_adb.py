"""Measuring on a phone, end to end: a real adb server, a stand-in that runs real programs, ONNX Runtime there."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from nas_edge.cli.main import invoke
from nas_edge.devices.adb import AdbTransport
from nas_edge.devices.remote import RemoteDevice
from nas_edge.pipeline.devices.adding import Wishes, add_target
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx
from tests.conftest import ROOT
from tests.devices.adbd import *  # noqa: F403 - fixtures
from tests.devices.adbd import _forget
from tests.devices.cutting import CuttingProxy

MEASURE = ("table", "measure", "--bundle", "tiny", "--quick", "--networks", "6", "--holdout", "4")
SEARCH = ("search", "--bundle", "tiny", "--latency", "1ms", "--evaluations", "2000")


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def here(stand, stand_template, phone, monkeypatch):
    """A place without tables of this machine, so that the phone has to be met; its shell writes below the stand-in's
    directory, as /data/local/tmp is not there.
    """

    def reach(serial="", directory="", **options):
        return RemoteDevice(AdbTransport(serial, str(phone.tmp)), directory, patience_s=8.0, grace_s=3.0, **options)

    monkeypatch.setattr("nas_edge.devices.adb.adb_device", reach)
    Path("targets").mkdir()
    shutil.copy(ROOT / "targets" / "local.yaml", "targets")
    monkeypatch.setattr("nas_edge.resources.roots", lambda: (Path.cwd(), stand_template))


def left_clean(folder):
    for _ in range(120):
        if not list(folder.iterdir()):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def my_phone(here, phone):
    yield add_target("my-phone", Wishes(serial=phone.serial, python=sys.executable))
    assert left_clean(phone.tmp)


@pytest.fixture
def proxy(phone, adb_server):
    """The cable, which can be pulled after so many bytes."""
    proxy = CuttingProxy(phone.port)
    yield proxy
    proxy.close()
    _forget(adb_server, f"127.0.0.1:{proxy.port}")


def answer(capsys, *arguments):
    capsys.readouterr()
    code = invoke([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_a_network_is_profiled_on_the_phone(my_phone, phone, tmp_path, capsys):
    space = SearchSpace.named("lite0")
    path = tmp_path / "net.onnx"
    path.write_bytes(build_onnx(space.lower(space.smallest(), 6)).SerializeToString())
    found = answer(capsys, "profile", str(path), "--target", "my-phone", "--serial", phone.serial, "--quick")
    assert found["latency_ms"]["median"] > 0
    assert found["runtime"].startswith("onnxruntime ")
    assert found["origin"]["kind"] == "measured"
    assert found["target"] == "my-phone"


@pytest.mark.slow
def test_a_table_is_measured_on_the_phone_and_a_search_verified(my_phone, phone, capsys):
    found = answer(capsys, *MEASURE, "--target", "my-phone")
    assert Path(found["table"]) == Path("latency_tables/my-phone/onnxruntime-fp32")
    assert found["coverage"] == 1
    assert left_clean(phone.tmp)
    assert invoke([*SEARCH, "--target", "my-phone", "--verify", "--serial", phone.serial, "--out", "mine"]) == 0
    said = capsys.readouterr().out
    assert "MEASURED" in said.splitlines()[0]
    assert said.splitlines()[0].endswith("MET")
    assert "first contact" not in said
    assert left_clean(phone.tmp)
    profiled = answer(capsys, "profile", "mine", "--serial", phone.serial)
    assert profiled["latency_ms"]["predicted"]["point"] == pytest.approx(profiled["latency_ms"]["median"], rel=0.5)


@pytest.mark.slow
def test_a_phone_without_a_table_is_met_by_its_serial_number_alone(here, phone, monkeypatch, capsys):
    """As a user would: no target file."""
    monkeypatch.setattr("nas_edge.runtimes.agent._FIND_PYTHON", f"echo {sys.executable}")
    assert invoke([*SEARCH, "--serial", phone.serial, "--out", "mine"]) == 0
    said = capsys.readouterr().out
    assert "first contact: a few networks were timed, once; kept in " in said
    assert "MEASURED" in said.splitlines()[0]
    assert left_clean(phone.tmp)


@pytest.mark.slow
def test_a_cut_while_measuring_loses_one_visit_at_most(my_phone, phone, proxy, capsys):
    """The cable is pulled once, in the middle of the models and their visits: measuring goes on by itself."""
    far = f"127.0.0.1:{proxy.port}"
    proxy.cut_after(400_000)
    found = answer(capsys, *MEASURE, "--target", "my-phone", "--serial", far)
    assert proxy.cuts == 1
    assert found["coverage"] == 1
    assert not list(Path("latency_tables").rglob("journal*"))


@pytest.mark.slow
def test_a_phone_that_vanishes_leaves_a_journal_that_the_next_run_goes_on_from(my_phone, phone, proxy, capsys):
    far = f"127.0.0.1:{proxy.port}"
    proxy.lost_after(500_000)
    code = invoke([*MEASURE, "--target", "my-phone", "--serial", far])
    said = capsys.readouterr().err
    assert code == 1
    assert "visits until then are kept in" in said
    journal = Path("latency_tables/my-phone/onnxruntime-fp32/journal.jsonl")
    assert journal.stat().st_size > 1000
    found = answer(capsys, *MEASURE, "--target", "my-phone")
    assert found["coverage"] == 1
    assert load_table_for(load_target("my-phone")).own
    assert not list(Path("latency_tables").rglob("journal*"))
