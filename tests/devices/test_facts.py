"""What is made of the files and tools of boards and phones: specimens as they print them."""

import pytest

from nas_edge.devices import LocalDevice, cpu_slug
from nas_edge.devices.facts import FINGERPRINT_FILES, STATE_FILES, parse_sections, read_local
from nas_edge.devices.fingerprint import build_fingerprint
from nas_edge.devices.state import DeviceState, build_state

CORE = """processor\t: {n}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x{maker}
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0x{part}
CPU revision\t: 3
"""
PI_4 = {
    "uname -srm": "Linux 6.1.21-v8+ aarch64",
    "/proc/cpuinfo": "\n".join(CORE.format(n=n, maker="41", part="d08") for n in range(4))
    + "\nHardware\t: BCM2835\nRevision\t: c03112\nModel\t\t: Raspberry Pi 4 Model B Rev 1.2\n",
    "/proc/meminfo": "MemTotal:        3885396 kB\nMemFree:  1 kB",
    "/proc/self/status": "Name:\tcat\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3",
    "/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.2",
    "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\nNAME="Debian GNU/Linux"',
    "/etc/machine-id": "b08dfa6083e7567a1921a715000001fb",
}
PHONE = {
    "uname -srm": "Linux 4.14.113 aarch64",
    "/proc/cpuinfo": "\n".join(
        [CORE.format(n=n, maker="41", part="d05") for n in range(6)]
        + [CORE.format(n=n, maker="53", part="004") for n in (6, 7)]
    ),
    "/proc/self/status": "Cpus_allowed_list:\t0-3,6,7",
    "getprop ro.product.model": "SM-N970F",
    "getprop ro.build.version.release": "12",
    "getprop ro.serialno": "R58M123456",
    "getprop ro.soc.model": "Exynos 9825",
}  # fmt: skip


def test_a_raspberry_pi():
    found = build_fingerprint(PI_4)
    assert (found.vendor, found.family, found.model, found.stepping) == ("0x41", 8, 0xD08, 3)
    assert found.slug == "cpu-arm-raspberry-pi-4-f8m3336"
    assert (found.cores, found.memory_bytes) == (4, 3885396 * 1024)
    assert found.os == "Debian GNU/Linux 11 (bullseye)"
    assert found.board == found.cpu == "Raspberry Pi 4 Model B Rev 1.2"
    assert found.kernel == "6.1.21-v8+"
    assert len(found.machine_id) == 8
    assert PI_4["/etc/machine-id"][:8] not in found.machine
    assert found.emulator == ""


def test_a_phone_is_known_by_its_big_cores():
    found = build_fingerprint(PHONE)
    assert found.slug == "cpu-samsung-exynos-9825-f8m4"
    assert found.slug == cpu_slug("0x53", "Exynos 9825", 8, 4)
    assert found.os == "Android 12"
    assert found.board == "SM-N970F"
    assert found.cores == 8  # of which a shell over adb is given 6
    assert found.machine_id


@pytest.mark.parametrize(
    ("mask", "present", "cores"), [("1", "0-1", 4), ("0-3", "0-7", 8), ("0", "", 4), ("0", "nonsense", 4)]
)
def test_a_process_that_may_not_use_all_cores_is_on_the_same_machine(mask, present, cores):
    narrow = PI_4 | {"/proc/self/status": f"Cpus_allowed_list:\t{mask}", "/sys/devices/system/cpu/present": present}
    assert build_fingerprint(narrow).cores == cores


@pytest.mark.parametrize(
    "texts",
    [
        {"uname -srm": "Linux 6.1 aarch64", "/proc/cpuinfo": "vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n"},
        {"uname -srm": "Linux 6.1 armv7l", "/proc/cpuinfo": "vendor_id\t: GenuineIntel\n"},
        {"uname -srm": "Linux 6.1 aarch64", "/proc/cpuinfo": CORE.format(n=0, maker="00", part="051")},
        {
            "uname -srm": "Linux 6.1 x86_64",
            "/proc/cpuinfo": "model name\t: QEMU Virtual CPU version 2.5+\n",
        },
        {"uname -srm": "Linux 5.10 aarch64", "getprop ro.product.model": "sdk_gphone64_arm64"},
    ],
)
def test_what_only_pretends_to_be_a_cpu_is_found_out(texts):
    assert build_fingerprint(texts).emulator == "qemu"


def test_nothing_at_all_is_an_unknown_cpu():
    found = build_fingerprint({})
    assert (found.cpu, found.cores, found.machine_id) == ("unknown CPU", 1, "")
    assert found.slug == "cpu-unknown-f0m0"


def test_this_machine_is_the_same_however_it_is_read():
    text = "".join(f"\n==> {path}\n{body}\n" for path, body in read_local(FINGERPRINT_FILES).items())
    import platform

    text += f"\n==> uname -srm\n{platform.system()} {platform.release()} {platform.machine()}\n"
    assert build_fingerprint(parse_sections(text)) == LocalDevice().fingerprint()


def test_the_state_of_a_board():
    cpus = "/sys/devices/system/cpu"
    found = build_state(
        {
            "/proc/loadavg": "0.42 0.30 0.20 1/500 1234",
            f"{cpus}/cpu0/cpufreq/scaling_governor": "ondemand",
            **{f"{cpus}/cpu{n}/cpufreq/scaling_cur_freq": str(600_000 + n) for n in (0, 10, 2)},
            "/sys/class/thermal/thermal_zone0/temp": "48312",
            "/sys/class/thermal/thermal_zone1/temp": "51000",
            "nvpmodel -q": "NV Fan Mode:quiet\nNV Power Mode: MAXN\n0",
            "vcgencmd get_throttled": "throttled=0x50005",
        }
    )
    assert (found.load, found.governor, found.temperature_c) == (0.42, "ondemand", 51.0)
    assert found.clock_mhz == (600.0, 600.002, 600.01)
    assert (found.power_mode, found.throttled) == ("MAXN", True)
    assert build_state({"vcgencmd get_throttled": "throttled=0x50000"}).throttled is False  # it was, it is not now


@pytest.mark.parametrize(("least", "locked"), [("1377000000", True), ("114750000", False)])
def test_a_jetson_tells_its_gpus_clock_and_whether_clocks_are_locked(least, locked):
    gpu = "/sys/class/devfreq/17000000.gv11b"
    files = {f"{gpu}/cur_freq": "1377000000", f"{gpu}/min_freq": least, f"{gpu}/max_freq": "1377000000"}
    found = build_state(files | {"nvpmodel -q": "NV Power Mode: MODE_30W_ALL\n3"})
    assert (found.gpu_clock_mhz, found.clocks_locked, found.power_mode) == (1377.0, locked, "MODE_30W_ALL")
    assert DeviceState.from_json(found.to_json()) == found
    assert "clocks_locked" not in build_state({}).to_json()


def test_a_machine_that_tells_nothing_has_a_state_of_unknowns():
    found = build_state({})
    assert (found.load, found.governor, found.clock_mhz, found.temperature_c) == (None, None, None, None)
    assert set(found.to_json()) == {"date", "load", "governor", "clock_mhz", "temperature_c"}


@pytest.mark.parametrize("junk", ["", "\x00\xff", "==> \n", "-1", "a\nb: c: d", "9" * 400])
def test_junk_is_survived(junk):
    for name in (*FINGERPRINT_FILES, *STATE_FILES, "uname -srm", "nvpmodel -q", "vcgencmd get_throttled"):
        build_fingerprint({name: junk})
        build_state({name: junk})
    parse_sections(junk)
