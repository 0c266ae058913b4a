"""Devices over adb, held to the contract: a real adb server, and a stand-in for the phone that runs real programs."""

import sys
import time

import pytest

from nas_edge.devices.adb import AdbTransport, adb_device
from nas_edge.devices.remote import RemoteDevice
from nas_edge.errors import DeviceError, DeviceLostError, MissingExtraError

from .adbd import *  # noqa: F403 - fixtures
from .adbd import Adbd, _forget
from .contract import DeviceContract
from .cutting import CutContract, CuttingProxy


def reach(serial, phone, **options):
    settings = {"patience_s": 4.0, "grace_s": 3.0} | options
    return RemoteDevice(AdbTransport(serial, str(phone.tmp)), **settings)


def gone(folder):
    for _ in range(120):
        if not list(folder.iterdir()):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def device(phone):
    device = reach(phone.serial, phone)
    yield device
    device.close()
    assert gone(phone.tmp)


class TestAdbDevice(DeviceContract):
    @pytest.fixture(scope="class")
    def device(self, adb_server, tmp_path_factory):
        """One for all."""
        phone = Adbd(tmp_path_factory.mktemp("phone"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_server))
            device = reach(phone.serial, phone)
            yield device
            device.close()
            assert gone(phone.tmp)
        phone.close()
        _forget(adb_server, phone.serial)


@pytest.mark.slow
class TestCutConnections(CutContract):
    @pytest.fixture
    def proxy(self, phone, adb_server):
        proxy = CuttingProxy(phone.port)
        yield proxy
        proxy.close()
        _forget(adb_server, f"127.0.0.1:{proxy.port}")
        assert gone(phone.tmp)

    @pytest.fixture
    def far(self, phone, proxy):
        device = reach(f"127.0.0.1:{proxy.port}", phone)
        yield device
        device.close()

    @pytest.fixture
    def other(self, phone, far):
        device = reach(phone.serial, phone)
        yield device
        device.close()


def test_the_cable_is_pulled_and_put_back(device, phone, tmp_path):
    (tmp_path / "there").write_text("kept")
    device.push(tmp_path / "there", "file")
    phone.cut()
    time.sleep(0.2)
    try:
        assert device.run(["cat", "file"], 20).stdout == "kept"
    except DeviceLostError:
        assert device.run(["cat", "file"], 20).stdout == "kept"


def test_the_only_device_needs_no_serial_number_several_do(phone, tmp_path, adb_server):
    first = reach(phone.serial, phone)
    assert first.run(["true"], 20).status == 0
    only = reach("", phone)
    assert only.run(["true"], 20).status == 0
    assert only.name == phone.serial
    second = Adbd(tmp_path)
    other = reach(second.serial, second)
    assert other.run(["true"], 20).status == 0
    with pytest.raises(DeviceError, match=r"several devices are there: .*; choose one with --serial") as caught:
        reach("", phone).run(["true"], 5)
    assert phone.serial in str(caught.value)
    assert second.serial in str(caught.value)
    for device in (first, only, other):
        device.close()
    second.close()
    _forget(adb_server, second.serial)


def test_without_any_device_it_says_so(phone):
    with pytest.raises(DeviceError, match="there is none"):
        reach("", phone).run(["true"], 5)
    with pytest.raises(DeviceError, match="adb knows no such device; it knows none"):
        reach("R58M", phone).run(["true"], 5)


def test_nobody_at_an_address_is_told(phone):
    with pytest.raises(DeviceLostError, match="cannot be reached"):
        reach("127.0.0.1:1", phone).run(["true"], 5)


def test_a_phone_that_does_not_trust_this_computer_says_what_to_do(phone, tmp_path, adb_server):
    shy = Adbd(tmp_path, trusts=False)
    with pytest.raises(DeviceError, match=r"accept the key on its screen|is offline|is authorizing"):
        reach(shy.serial, shy).run(["true"], 5)
    shy.close()
    _forget(adb_server, shy.serial)


def test_a_phone_that_is_too_old_is_refused(phone, tmp_path, adb_server):
    old = Adbd(tmp_path, features="cmd")
    with pytest.raises(DeviceError, match="its Android is too old"):
        reach(old.serial, old).run(["true"], 5)
    old.close()
    _forget(adb_server, old.serial)


def test_work_is_done_under_data_local_tmp():
    assert adb_device("R58M")._lock == "/data/local/tmp/nas-edge.lock"
    assert AdbTransport("R58M").temporary == "/data/local/tmp"


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "adbutils", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nas-edge\[devices\]'"):
        adb_device("R58M")
