"""`Preprocess`: geometry, scaling, and what it makes of odd pictures."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from nas_edge.data import Preprocess
from nas_edge.data.preprocess import Resize, to_rgb
from nas_edge.errors import ConfigError, DataError

from .pictures import picture


def test_squash_keeps_the_whole_picture_and_crop_its_centre():
    wide = Image.new("RGB", (300, 100), (255, 0, 0))
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    squashed = Preprocess().resize(wide, 30)
    cropped = Preprocess(Resize.CROP).resize(wide, 30)
    assert squashed.shape == cropped.shape == (30, 30, 3)
    assert squashed[15, 2].tolist() == [255, 0, 0]
    assert (cropped[:, 3:-3] == np.array([0, 0, 255], np.uint8)).all()  # antialiasing mixes at the border


def test_crop_of_a_share_keeps_that_share_of_the_short_side():
    assert Preprocess(Resize.CROP, crop=0.5).box(200, 100) == (75.0, 25.0, 125.0, 75.0)


def test_a_picture_of_the_right_size_is_not_touched():
    image = picture(1, (32, 32))
    assert np.array_equal(Preprocess().resize(image, 32), np.asarray(image))


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = Preprocess().resize(stripes, 8)
    assert abs(small.astype(int) - 127).max() < 12


def test_a_picture_is_turned_upright_by_its_exif_orientation(tmp_path):
    image = Image.new("RGB", (20, 20))
    image.paste((255, 255, 255), (0, 0, 20, 10))  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    image.rotate(180).save(tmp_path / "turned.png", exif=exif)
    upright = Preprocess().resize(Image.open(tmp_path / "turned.png"), 20)
    assert upright[2, 10, 0] == 255
    assert upright[17, 10, 0] == 0


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode_of_pillow_becomes_rgb(mode):
    image = picture(3).convert("L").convert("I").convert("I;16") if mode == "I;16" else picture(3).convert(mode)
    assert Preprocess().resize(image, 8).shape == (8, 8, 3)


def test_sixteen_bits_of_grey_are_scaled_not_clipped():
    ramp = Image.fromarray(np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8))
    grey = Preprocess().resize(ramp, 8)[:, :, 0].ravel()
    assert grey[0] == 0
    assert grey[-1] == 255
    assert (np.diff(grey.astype(int)) > 0).all()


def test_arrays_of_one_channel_and_without_channels_are_grey():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(Preprocess().resize(grey, 8), Preprocess().resize(grey[:, :, None], 8))


def test_an_array_that_is_no_picture_is_refused():
    with pytest.raises(DataError, match="uint8"):
        Preprocess().resize(np.zeros((8, 8, 3), np.float32), 8)


def test_normalise_gives_planes_in_the_units_of_the_network():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    preprocess = Preprocess(mean=(1, 2, 3), std=(4, 5, 6))
    batch = preprocess.normalise(pixels)
    assert batch.shape == (2, 3, 4, 4)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert batch[1, 2, 3, 0] == pytest.approx((pixels[1, 3, 0, 2] - 3) / 6)


@given(
    st.sampled_from(Resize),
    st.floats(0.1, 1),
    st.tuples(*[st.floats(0, 255)] * 3),
    st.tuples(*[st.floats(0.5, 255)] * 3),
)
def test_plain_data_and_back_is_the_same(mode, crop, mean, std):
    preprocess = Preprocess(mode, crop, mean, std)
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resise": "squash"}, "unknown key 'resise'"),
        ({"format": 2}, "newer"),
        ({"resize": "stretch"}, "stretch"),
        ({"std": [1, 1]}, "preprocess.json"),
        ({"std": [1, 1, 0]}, "above 0"),
        ({"mean": [float("nan"), 1, 1]}, "finite"),
        ({"layout": "NHWC"}, "NCHW"),
        ({"interpolation": "nearest"}, "bilinear"),
        ({"crop": 1.5}, "at most 1"),
        ({"mean": "abc"}, "does not describe"),
    ],
)
def test_a_key_or_value_that_does_not_fit_is_named(change, message):
    with pytest.raises(ConfigError, match=message):
        Preprocess.from_dict(Preprocess().to_dict() | change, "preprocess.json")


def test_something_that_is_no_mapping_is_refused():
    with pytest.raises(ConfigError, match="mapping"):
        Preprocess.from_dict([1, 2])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(5, (20, 16)).save(tmp_path / "x.png", exif=exif)
    wanted = ImageOps.exif_transpose(Image.open(tmp_path / "x.png"))
    assert np.array_equal(np.asarray(to_rgb(Image.open(tmp_path / "x.png"))), np.asarray(wanted))


@pytest.mark.filterwarnings("ignore")
def test_damaged_metadata_do_not_make_a_picture_unreadable(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(5, (20, 16)).save(tmp_path / "x.jpg", exif=exif)
    data = bytearray((tmp_path / "x.jpg").read_bytes())
    at = data.index(b"Exif")
    for offset in range(6, 30):
        damaged = bytearray(data)
        damaged[at + offset] = 0xFE
        assert Preprocess().resize(Image.open(io.BytesIO(bytes(damaged))), 8).shape == (8, 8, 3)
