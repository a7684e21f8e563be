"""Philox: the published vectors, the numbering of elements, the distributions, and values that must never change."""

from statistics import NormalDist

import numpy as np
import pytest

from alexnet_cuda.base import philox

# Random123's kat_vectors for philox4x32-10: counter, key, result.
PUBLISHED = [
    ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def test_published_vectors():
    for counter, key, result in PUBLISHED:
        words = philox.philox4x32(counter, key)
        assert words.dtype == np.uint32
        assert words.tolist() == result


def test_counters_are_independent_of_their_neighbours():
    counters = np.arange(2 * 3 * 4).reshape(2, 3, 4) * 0x0A0B0C0D
    together = philox.philox4x32(counters, (1, 2))
    assert together.shape == (2, 3, 4)
    for at in np.ndindex(2, 3):
        assert together[at].tolist() == philox.philox4x32(counters[at], (1, 2)).tolist()
    assert philox.philox4x32(np.zeros((0, 4)), (1, 2)).shape == (0, 4)


def test_bits_are_the_words_of_the_blocks_that_the_contract_names():
    seed, purpose, step = 0xFEDCBA98_76543210, 0x105, 0x11_00000022
    blocks = philox.philox4x32([[block, purpose, 0x22, 0x11] for block in range(5)], (0x76543210, 0xFEDCBA98))
    assert philox.bits(seed, purpose, step, 0, 20).tolist() == blocks.reshape(-1).tolist()


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 65533, 2**34 - 300])
def test_any_slice_holds_the_same_elements(start):
    first = start // 4 * 4
    whole = philox.bits(5, 6, 7, first, min(304, 2**34 - first))
    for count in (0, 1, 2, 3, 4, 5, 9, 300):
        part = philox.bits(5, 6, 7, start, count)
        assert part.shape == (count,)
        assert part.dtype == np.uint32
        assert part.tolist() == whole[start - first : start - first + count].tolist()


def test_many_elements_are_drawn_as_few():
    whole = philox.bits(8, 9, 10, 2, 3 * 65536)  # blocks are computed 16384 at a time
    for start in (0, 65533, 65534, 131000, 3 * 65536 - 10):
        assert whole[start : start + 10].tolist() == philox.bits(8, 9, 10, 2 + start, 10).tolist()


@pytest.mark.parametrize("draw", [philox.bits, philox.normal])
def test_many_steps_are_drawn_as_each(draw):
    first = 2**32 - 2  # the third step has another high word
    together = draw(8, 9, first, 3, 22000, steps=4)
    each = [draw(8, 9, first + i, 3, 22000) for i in range(4)]
    np.testing.assert_array_equal(together, np.concatenate(each))


def inverse(word):
    return NormalDist().inv_cdf((word + 0.5) / 2**32)


def test_numbers_are_the_bits_scaled_or_the_inverse_of_the_normal_distribution():
    words = philox.bits(14, 15, 16, 3, 1000).tolist()
    for draw, arguments, expected, bound in (
        (philox.uniform, (-2.0, 5.0), [(word + 0.5) / 2**32 * 7.0 - 2.0 for word in words], 1e-14),
        (philox.normal, (0.5,), [0.5 * inverse(word) for word in words], 2e-7),  # AS 241's PPND7 promises seven digits
    ):
        numbers = draw(14, 15, 16, 3, 1000, *arguments)
        assert numbers.dtype == np.float64
        np.testing.assert_allclose(numbers, expected, rtol=bound, atol=1e-14)
        single = draw(14, 15, 16, 3, 1000, *arguments, np.float32)
        np.testing.assert_array_equal(single, numbers.astype(np.float32), strict=True)


def test_normal_at_the_ends_and_the_joints(monkeypatch):
    joint = round(0.075 * 2**32)  # the polynomials change at a distance of 0.425 from one half
    words = [0, 1, 2, 255, joint - 1, joint, joint + 1, 2**31 - 1, 2**31, 2**32 - joint, 2**32 - 2, 2**32 - 1]
    monkeypatch.setattr(philox, "bits", lambda *_: np.array(words, np.uint32))
    numbers = philox.normal(0, 0, 0, 0, len(words))
    assert np.abs(numbers / [inverse(word) for word in words] - 1).max() < 2e-7
    assert np.all(np.diff(numbers) > 0)
    assert numbers[0] == -numbers[-1]
    assert numbers[7] == -numbers[8]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 50000])
def test_permutation_is_the_order_of_64_bit_keys(n):
    words = philox.bits(23, 24, 25, 0, 2 * n).tolist()
    order = philox.permutation(23, 24, 25, n)
    assert order.dtype == np.int64
    assert order.tolist() == sorted(range(n), key=lambda i: (words[2 * i], words[2 * i + 1]))


def test_values_that_every_seed_of_every_user_depends_on():
    """A change here changes everyone's weights, masks, crops and order: it needs a new major version."""
    assert [int(purpose) for purpose in philox.Purpose] == [1, 2, 3, 4, 5, 0x100, 0x200]
    assert philox.bits(0, 1, 0, 0, 4).tolist() == [0x6AD0C5EC, 0xEA236249, 0x73A459F5, 0x074944B3]
    words = philox.bits(0x0123456789ABCDEF, 0x106, 2**32 + 7, 5, 6)
    assert words.tolist() == [0x3631BCB0, 0xEBBC7E7F, 0xA0DDB863, 0xEE884DA8, 0xE1E4E8B0, 0x6A5EE670]
    # To the last bit: only exactly rounded operations are used. The second to fifth are of the tails.
    assert [float(z).hex() for z in philox.normal(7, 0x202, 0, 0, 6)] == [
        "-0x1.2e0d9da1692cbp+0",
        "-0x1.6be8467f6fc1ap+0",
        "-0x1.3380f3d8a1c28p+1",
        "-0x1.0a3e486d5beb2p+1",
        "0x1.f34ddaa54679ap+0",
        "-0x1.af10fb0895400p-6",
    ]
    assert [float(u).hex() for u in philox.uniform(7, 0x203, 0, 1, 3, -0.5, 0.25)] == [
        "-0x1.ef4aa8bc00000p-5",
        "0x1.1a11ed6e00000p-4",
        "-0x1.dd86482880000p-2",
    ]
    assert philox.permutation(3, 3, 2, 12).tolist() == [9, 4, 11, 5, 6, 8, 10, 0, 3, 1, 2, 7]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 0, 0, 0, 1), "got seed -1 and step 0"),
        ((1 << 64, 0, 0, 0, 1), f"got seed {1 << 64}"),
        ((0, 0, -1, 0, 1), "step -1"),
        ((0, -1, 0, 0, 1), "purpose must be a 32-bit unsigned integer, got -1"),
        ((0, 1 << 32, 0, 0, 1), f"got {1 << 32}"),
        ((0, 0, 0, -1, 1), "elements must lie in [0, 2**34], got start -1 and count 1"),
        ((0, 0, 0, 0, -1), "got start 0 and count -1"),
        ((0, 0, 0, 2**34, 1), f"got start {2**34} and count 1"),
    ],
)
def test_bad_keys_are_named(arguments, words):
    for function in (philox.bits, philox.uniform, philox.normal):
        with pytest.raises(ValueError, match="must") as caught:
            function(*arguments)
        assert words in str(caught.value)


def test_bad_counters_are_named():
    with pytest.raises(ValueError, match=r"counter must have shape \[..., 4\], got \[3\]"):
        philox.philox4x32([1, 2, 3], (0, 0))
    for counter, key in (([0, 1 << 32, 0, 0], (0, 0)), ([0] * 4, (0, 1 << 32)), ([0] * 4, (-1, 0))):
        with pytest.raises(ValueError, match="must hold 32-bit unsigned integers, got"):
            philox.philox4x32(counter, key)
