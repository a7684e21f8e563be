"""Colour statistics against NumPy's own."""

import numpy as np
import pytest
from PIL import Image

from alexnet_cuda.data import DecodeError, ImageSource, Loader, estimate_colour


class Pixels(ImageSource):
    def __init__(self, images, bad=()):
        super().__init__("pixels", ["a", "b"], np.arange(len(images)) % 2, [f"{i}.png" for i in range(len(images))])
        self.images = images
        self.bad = bad

    def load(self, index, at_least):
        if index in self.bad:
            raise DecodeError(self.names[index], "broken")
        return Image.fromarray(self.images[index])


@pytest.fixture
def images():
    rng = np.random.default_rng(2)
    mix = np.array([[60.0, 10.0, 3.0], [50.0, -4.0, -6.0], [40.0, -9.0, 8.0]])
    values = np.array([130.0, 120.0, 100.0]) + rng.normal(size=(30, 8, 8, 3)) @ mix.T
    return np.clip(values, 0, 255).astype(np.uint8)


def _check(result, images):
    pixels = images.reshape(-1, 3).astype(np.float64)
    # Sums are exact; what is left is a few roundings of float64, and cancellation by mean^2 / variance < 100.
    np.testing.assert_allclose(result.mean, pixels.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(result.std, pixels.std(axis=0), rtol=1e-12)
    covariance = np.cov(pixels / 255, rowvar=False, ddof=0)
    rebuilt = result.eigenvectors @ np.diag(result.eigenvalues) @ result.eigenvectors.T
    np.testing.assert_allclose(rebuilt, covariance, rtol=0, atol=1e-13)
    np.testing.assert_allclose(result.eigenvectors.T @ result.eigenvectors, np.eye(3), atol=1e-14)
    assert result.eigenvalues[0] > result.eigenvalues[1] > result.eigenvalues[2] > 0
    assert all(column[np.abs(column).argmax()] > 0 for column in result.eigenvectors.T)


def test_all_images(images):
    result = estimate_colour(Pixels(images), 8)
    _check(result, images)
    again = estimate_colour(Pixels(images), 8, seed=5, workers=1)
    for one, other in zip(result, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_undecodable_files_are_passed_over_and_the_limit_is_kept(images, monkeypatch):
    monkeypatch.setattr("alexnet_cuda.data.statistics._BATCH_PIXELS", 5 * 64)
    bad = []
    for _ in range(2):
        source = Pixels(images, bad)
        seen = np.concatenate([b.indices for b in Loader(source, 8, 7, 4, shuffle=True).epoch(0)])[:13]
        _check(estimate_colour(source, 8, limit=13, seed=4), images[seen])
        bad.append(seen[2])


def test_flat_grey_images_give_finite_statistics():
    result = estimate_colour(Pixels(np.full((3, 4, 4, 3), 90, np.uint8)), 4)
    assert (*result.mean, *result.std, *result.eigenvalues) == (90, 90, 90, 1, 1, 1, 0, 0, 0)
    assert np.isfinite(result.eigenvectors).all()


def test_bad_input(images):
    for bad, side, limit, message in (
        ((), 8, 0, "limit"),
        ((), 0, 30, "side"),
        (range(30), 8, 30, "none of the 30 images"),
    ):
        with pytest.raises(ValueError, match=message):
            estimate_colour(Pixels(images, bad), side, limit=limit)
