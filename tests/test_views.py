"""Which part of an image the network sees: random in training, fixed and ten views in tests."""

import numpy as np
import pytest

from alexnet_cuda.base import philox
from alexnet_cuda.config import config_from_preset
from alexnet_cuda.network.views import fixed_views, random_views, ten_views


def config(**overrides):
    return config_from_preset("paper", **{"image_size": 67, "resize": 72, "seed": 31, **overrides})


@pytest.mark.parametrize(("height", "width"), [(80, 90), (72, 70), (67, 67)])
@pytest.mark.parametrize("mirror", [True, False])
def test_crops_are_the_words_that_the_contract_names(height, width, mirror):
    for images, step in ((3, 7), (2000, 4)):
        views = random_views((images, height, width, 3), config(mirror=mirror), step)
        words = philox.bits(31, philox.Purpose.CROP, step, 0, 4 * images).reshape(images, 4).tolist()
        assert (views.top.dtype, views.left.dtype, views.mirrored.dtype) == (np.int64, np.int64, np.bool_)
        assert views.top.tolist() == [w[0] * (height - 67 + 1) // 2**32 for w in words]
        assert views.left.tolist() == [w[1] * (width - 67 + 1) // 2**32 for w in words]
        assert views.mirrored.tolist() == [mirror and w[2] >= 2**31 for w in words]


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


CORNERS = {"centre": (2, 1), "top left": (0, 0), "top right": (0, 3), "bottom left": (5, 0), "bottom right": (5, 3)}


@pytest.mark.parametrize("mirrored", [False, True])
def test_fixed_views(mirrored):
    for place, corner in CORNERS.items():
        views = fixed_views((2, 72, 70, 3), config(), place, mirrored)
        assert list(zip(views.top, views.left, views.mirrored, strict=True)) == [(*corner, mirrored)] * 2
        assert views.shift.shape == (2, 3)
        assert not views.shift.any()


def test_ten_views_are_four_corners_and_the_centre_each_also_mirrored():
    seen = [(int(v.top[0]), int(v.left[0]), bool(v.mirrored[0])) for v in ten_views((1, 72, 70, 3), config())]
    assert len(seen) == 10
    assert set(seen) == {(*corner, mirrored) for corner in CORNERS.values() for mirrored in (False, True)}


def test_values_that_every_seed_of_every_user_depends_on():
    views = random_views((5, 256, 260, 3), config_from_preset("paper", seed=11), 9)
    assert views.top.tolist() == [14, 28, 0, 20, 26]
    assert views.left.tolist() == [22, 22, 8, 13, 6]
    assert views.mirrored.tolist() == [True, True, False, True, True]
    # The matrix product may be rounded in another order elsewhere.
    assert np.abs(views.shift[0] - [-4.338194, -3.884264, -3.5812726]).max() < 1e-5
