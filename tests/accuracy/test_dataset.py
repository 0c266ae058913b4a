from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.accuracy import AccuracySet, read_accuracy, write_accuracy
from nas_edge.errors import FormatError, SpaceError
from nas_edge.spaces import SearchSpace

SPACE = SearchSpace.named("lite0")


@pytest.fixture
def measured() -> AccuracySet:
    return some()


def some() -> AccuracySet:
    rng = np.random.default_rng(0)
    bits = rng.random((10, 7, 2)) < 0.8
    return AccuracySet.of_bits(SPACE.sample(10, rng), bits, ("train",) * 8 + ("holdout",) * 2)


def test_what_is_written_is_read_back(tmp_path, measured):
    path = tmp_path / "accuracy.csv"
    write_accuracy(path, SPACE, measured)
    again = read_accuracy(path, SPACE)
    for name in ("population", "correct", "images", "views", "bits", "accuracy"):
        assert np.array_equal(getattr(again, name), getattr(measured, name)), name
    assert (again.roles, again.precisions) == (measured.roles, measured.precisions)
    first = path.read_bytes(), path.with_suffix(".npz").read_bytes()
    write_accuracy(path, SPACE, again)
    assert first == (path.read_bytes(), path.with_suffix(".npz").read_bytes())


def test_single_answers_are_optional(tmp_path, measured):
    path = tmp_path / "accuracy.csv"
    write_accuracy(path, SPACE, measured)
    path.with_suffix(".npz").unlink()
    assert read_accuracy(path, SPACE).bits is None


def test_roles_and_precisions_select(measured):
    assert len(measured.with_role("train")) == 8
    assert len(measured.with_role("holdout").bits) == 2
    assert len(measured.of_precision("int8")) == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# format: 1", "# format: 9", ":1: format 9 is newer"),
        ("# format", "format", ":1: must be"),
        ("arch,precision", "architecture,precision", ":2: columns must be"),
        (",train\n", ",test\n", ":3: role 'test'"),
        (",7,2,", ",0,2,", ":3: .* not possible"),
        ("fp32,0.", "fp32,1.", ":3: accuracy"),
        ("fp32,0.", "fp32,nan0.", ":3: could not convert"),
        ('""r"":', '""r"":1', ":3: r = "),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path, measured, old, new, message):
    path = tmp_path / "accuracy.csv"
    write_accuracy(path, SPACE, measured)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(FormatError, match=message):
        read_accuracy(path, SPACE)


def test_a_truncated_file_is_refused(tmp_path, measured):
    path = tmp_path / "accuracy.csv"
    write_accuracy(path, SPACE, measured)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(FormatError, match=":12: "):
        read_accuracy(path, SPACE)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_of_the_answers_is_no_crash(tmp_path_factory, at, change):
    path = tmp_path_factory.mktemp("changed") / "accuracy.csv"
    write_accuracy(path, SPACE, some())
    data = bytearray(path.with_suffix(".npz").read_bytes())
    data[at % len(data)] ^= change
    path.with_suffix(".npz").write_bytes(data)
    with suppress(FormatError):
        read_accuracy(path, SPACE)


def test_a_subnet_measured_twice_is_refused(tmp_path, measured):
    path = tmp_path / "accuracy.csv"
    write_accuracy(path, SPACE, measured)
    path.write_text(path.read_text() + path.read_text().splitlines()[2] + "\n")
    with pytest.raises(FormatError, match="the same subnet as in line 3"):
        read_accuracy(path, SPACE)


def test_answers_of_another_file_are_refused(tmp_path, measured):
    path = tmp_path / "accuracy.csv"
    write_accuracy(path, SPACE, measured)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(FormatError, match="does not belong"):
        read_accuracy(path, SPACE)
    path.with_suffix(".npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(FormatError, match="damaged or truncated"):
        read_accuracy(path, SPACE)


def test_subnets_of_another_space_are_refused(tmp_path, measured):
    path = tmp_path / "accuracy.csv"
    write_accuracy(path, SPACE, measured)
    with pytest.raises(SpaceError, match="'lite0', not of 'mcu'"):
        read_accuracy(path, SearchSpace.named("mcu"))
