"""Which part of an image the network sees: random in training, fixed and ten views in tests."""

import numpy as np
import pytest

from alexnet_cuda.base import philox
from alexnet_cuda.base.params import Views
from alexnet_cuda.config import config_from_preset
from alexnet_cuda.network.views import fixed_views, random_views, ten_views

SHAPE = (4000, 72, 70, 3)


def config(**overrides):
    return config_from_preset("paper", **{"image_size": 67, "resize": 72, "seed": 31, **overrides})


def same(one, other, count):
    fields = ("top", "left", "mirrored", "shift")
    return all(np.array_equal(getattr(one, f)[:count], getattr(other, f)[:count]) for f in fields)


def test_crops_reach_every_place_equally_often_and_none_outside():
    views = random_views(SHAPE, config(), 3)
    for corner, places in ((views.top, 72 - 67 + 1), (views.left, 70 - 67 + 1)):
        assert corner.dtype == np.int64
        counts = np.bincount(corner, minlength=places)
        assert len(counts) == places
        # Five standard deviations of a binomial count.
        assert np.abs(counts - 4000 / places).max() < 5 * np.sqrt(4000 / places)
    assert abs(np.corrcoef(views.top, views.left)[0, 1]) < 5 / np.sqrt(4000)


def test_half_are_mirrored_or_none():
    views = random_views(SHAPE, config(), 3)
    assert views.mirrored.dtype == np.bool_
    assert abs(views.mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)
    assert abs(np.corrcoef(views.mirrored, views.left)[0, 1]) < 5 / np.sqrt(4000)
    plain = random_views(SHAPE, config(mirror=False), 3)
    assert not plain.mirrored.any()
    assert np.array_equal(plain.top, views.top)
    assert np.array_equal(plain.left, views.left)


def test_crops_are_the_words_that_the_contract_names():
    views = random_views((3, 80, 90, 3), config(), 7)
    words = philox.bits(31, philox.Purpose.CROP, 7, 0, 12).reshape(3, 4).tolist()
    assert views.top.tolist() == [w[0] * (80 - 67 + 1) // 2**32 for w in words]
    assert views.left.tolist() == [w[1] * (90 - 67 + 1) // 2**32 for w in words]
    assert views.mirrored.tolist() == [w[2] >= 2**31 for w in words]


def test_colour_shift_is_the_formula_of_the_paper():
    values = (0.5, 0.1, 0.02)
    vectors = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (0.7, 0.8, 0.9))  # no orthogonal matrix: a transpose would show
    c = config(colour_noise=0.2, colour_eigenvalues=values, colour_eigenvectors=vectors)
    views = random_views((4, 72, 70, 3), c, 7)
    alpha = philox.normal(31, philox.Purpose.COLOUR, 7, 0, 12, 0.2).reshape(4, 3)
    assert views.shift.dtype == np.float32
    for n in range(4):
        for channel in range(3):
            expected = 255 * sum(vectors[channel][i] * alpha[n, i] * values[i] for i in range(3))
            assert abs(views.shift[n, channel] - expected) < 1e-6 * 255
    assert not random_views((4, 72, 70, 3), config(colour_noise=0.0), 7).shift.any()


def test_views_are_keyed_by_seed_step_and_place_in_the_batch():
    few, many = random_views((5, 72, 70, 3), config(), 3), random_views((9, 72, 70, 3), config(), 3)
    assert same(few, many, 5)
    assert not same(few, random_views((5, 72, 70, 3), config(), 4), 5)
    assert not same(few, random_views((5, 72, 70, 3), config(seed=32), 3), 5)
    assert not same(few, Views(many.top[4:], many.left[4:], many.mirrored[4:], many.shift[4:]), 5)


def test_an_image_of_the_very_size_has_one_crop():
    views = random_views((50, 67, 67, 3), config(), 3)
    assert not views.top.any()
    assert not views.left.any()


@pytest.mark.parametrize(
    ("place", "corner"),
    [
        ("centre", (2, 1)),
        ("top left", (0, 0)),
        ("top right", (0, 3)),
        ("bottom left", (5, 0)),
        ("bottom right", (5, 3)),
    ],
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_fixed_views(place, corner, mirrored):
    views = fixed_views((2, 72, 70, 3), config(), place, mirrored)
    assert (views.top.tolist(), views.left.tolist()) == ([corner[0]] * 2, [corner[1]] * 2)
    assert views.mirrored.tolist() == [mirrored] * 2
    assert views.shift.shape == (2, 3)
    assert not views.shift.any()


def test_ten_views_are_four_corners_and_the_centre_each_also_mirrored():
    seen = [(int(v.top[0]), int(v.left[0]), bool(v.mirrored[0])) for v in ten_views((1, 72, 70, 3), config())]
    corners = [(2, 1), (0, 0), (0, 3), (5, 0), (5, 3)]
    assert len(seen) == 10
    assert set(seen) == {(*corner, mirrored) for corner in corners for mirrored in (False, True)}


def test_values_that_every_seed_of_every_user_depends_on():
    views = random_views((5, 256, 260, 3), config_from_preset("paper", seed=11), 9)
    assert views.top.tolist() == [14, 28, 0, 20, 26]
    assert views.left.tolist() == [22, 22, 8, 13, 6]
    assert views.mirrored.tolist() == [True, True, False, True, True]
    # The matrix product may be rounded in another order elsewhere.
    assert np.abs(views.shift[0] - [-4.338194, -3.884264, -3.5812726]).max() < 1e-5
