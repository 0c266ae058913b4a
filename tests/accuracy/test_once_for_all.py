"""Once-for-All's predictor file: read without torch, held to torch."""

import contextlib
import itertools
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas_edge.accuracy import AccuracyPredictor
from nas_edge.accuracy.once_for_all import load_accuracy_predictor
from nas_edge.accuracy.torch_file import is_torch_file, read_state_dict
from nas_edge.errors import FormatError, SpaceError
from nas_edge.spaces import SearchSpace
from tests.accuracy.test_predictor import random_predictor

torch = pytest.importorskip("torch")

RESOLUTIONS = (160, 176, 192, 208, 224)
SPACE = SearchSpace.named("ofa-mbv3-w1.2").restrict(resolutions=RESOLUTIONS)


def network(sizes=(128, 6, 5, 1), seed=0):
    """A predictor of their kind, small, in torch."""
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def save(path, content, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def their_encoding(arch):
    """128 numbers, as their tutorial makes them of {"r", "ks", "e"}."""
    x = np.zeros(128, np.float32)
    for block, (kernel, ratio) in enumerate(zip(arch["ks"], arch["e"], strict=True)):
        if kernel:
            x[3 * block + (3, 5, 7).index(kernel)] = 1
            x[60 + 3 * block + (3, 4, 6).index(ratio)] = 1
    x[120 + (arch["r"] - 112) // 16] = 1
    return x


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_torch_s_gives_the_network_s_own_figures(tmp_path, legacy, wrapped):
    theirs = network()
    state = theirs.state_dict()
    path = save(tmp_path / "acc.pth", {"state_dict": state} if wrapped else state, legacy)
    ours = load_accuracy_predictor(path, SPACE)
    population = SPACE.sample(50, np.random.default_rng(0))
    encoded = np.stack([their_encoding(SPACE.to_json(row)) for row in population])
    with torch.no_grad():
        expected = theirs(torch.from_numpy(encoded))[:, 0].numpy()
    assert ours.predict(population) == pytest.approx(expected, abs=1e-6)
    ours.check(SPACE)


def test_tensors_of_all_shapes_and_types_are_read_as_torch_reads_them(tmp_path):
    base = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    tensors = {
        "part": base[1:3, ::2], "turned": base.T, "half": base.half(), "whole": torch.arange(5),
        "one": torch.tensor(3.0), "none": torch.zeros(0, 3), "parameter": torch.nn.Parameter(torch.ones(2)),
    }  # fmt: skip
    for legacy in (False, True):
        found = read_state_dict(save(tmp_path / "t.pth", tensors, legacy))
        assert list(found) == list(tensors)
        for name, tensor in tensors.items():
            assert np.array_equal(found[name], tensor.detach().numpy())


def test_our_own_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "acc_predictor.pth"
    random_predictor().write(path)
    space = SearchSpace.named("lite0")
    assert not is_torch_file(path)
    assert isinstance(load_accuracy_predictor(path, space), AccuracyPredictor)
    with pytest.raises(SpaceError, match="is of space 'lite0', not of 'mcu'"):
        load_accuracy_predictor(path, SearchSpace.named("mcu"))


class Harm:
    def __reduce__(self):
        return print, ("harm",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_that_a_file_says_is_run(tmp_path, protocol, capsys):
    path = save(tmp_path / "zip.pth", {"0.weight": torch.zeros(2)})
    other = tmp_path / "harm.pth"
    harm = pickle.dumps({"0.weight": Harm()}, protocol)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            target.writestr(name, harm if name.endswith("data.pkl") else source.read(name))
    with pytest.raises(FormatError, match="asks for"):
        load_accuracy_predictor(other, SPACE)
    whole = tmp_path / "whole.pth"
    save(whole, network())
    with pytest.raises(FormatError, match="asks for"):
        load_accuracy_predictor(whole, SPACE)
    assert capsys.readouterr().out == ""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), legacy=st.booleans())
def test_a_damaged_file_is_refused_or_read_but_nothing_else(tmp_path, data, legacy):
    path = save(tmp_path / f"{legacy}.pth", network().state_dict(), legacy)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), label="length")]
    else:
        for _ in range(3):
            place = data.draw(st.integers(0, min(len(content) - 1, 1500)), label="place")
            content[place] = data.draw(st.integers(0, 255), label="byte")
    path.write_bytes(bytes(content))
    with contextlib.suppress(FormatError):
        predictor = load_accuracy_predictor(path, SPACE)
        assert np.isfinite(predictor.predict(SPACE.sample(3, np.random.default_rng(0)))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state | {"0.weight": torch.zeros(6, 100)}, "takes 100 inputs where 128 are expected"),
        (lambda state: state | {"2.bias": torch.zeros(4)}, r"bias \(4,\)"),
        (lambda state: state | {"4.weight": torch.full((1, 5), torch.nan)}, "layer '4' are not finite"),
        (lambda state: {k: v for k, v in state.items() if k != "2.bias"}, "'2.bias' is missing"),
        (lambda state: {k: v for k, v in state.items() if not k.startswith("4")}, "gives 5 figures"),
        (lambda state: {"epoch": 3}, "'epoch' is no tensor"),
        (lambda state: [state], "holds a list"),
    ],
)
def test_what_is_no_such_predictor_is_refused_in_one_line(tmp_path, change, message):
    path = save(tmp_path / "acc.pth", change(dict(network().state_dict())))
    with pytest.raises(FormatError, match=message) as caught:
        load_accuracy_predictor(path, SPACE)
    assert "\n" not in str(caught.value)


def test_a_space_that_it_was_not_made_for_is_refused_by_the_dimension_that_differs(tmp_path):
    path = save(tmp_path / "acc.pth", network().state_dict())
    named = SearchSpace.named
    with pytest.raises(SpaceError, match="for 20 blocks, the space has 15"):
        load_accuracy_predictor(path, named("lite0"))
    with pytest.raises(SpaceError, match="knows no gene 'w'"):
        load_accuracy_predictor(path, named("mcu"))
    with pytest.raises(SpaceError, match=r"not 132, 136.* --resolutions 128,144,160,176,192,208,224$"):
        load_accuracy_predictor(path, named("ofa-mbv3-w1.2"))
    with pytest.raises(FormatError, match="cannot be read"):
        load_accuracy_predictor(tmp_path / "none.pth", SPACE)
