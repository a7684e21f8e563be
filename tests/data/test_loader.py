"""Batches: their order, what is skipped, what is cached, and that the threads end."""

import inspect
import threading
import time

import numpy as np
import pytest
from PIL import Image
from tests.child import exit_code_of_child

from alexnet_cuda.base.philox import Purpose, permutation
from alexnet_cuda.data import BrokenImages, DecodeError, ImageSource, Loader, TooManyBroken, estimate_colour

SIDE = 4


class Numbered(ImageSource):
    """Image i is filled with colour (i, 255 - i, 9); those in `bad` cannot be decoded."""

    def __init__(self, n, bad=()):
        super().__init__("numbered", ["a", "b", "c"], np.arange(n) % 3, [f"{i}.png" for i in range(n)])
        self.bad = frozenset(bad)
        self.loads = 0
        self.error = None

    def load(self, index, at_least):
        self.loads += 1
        if self.error is not None:
            raise self.error
        if index in self.bad:
            raise DecodeError(self.names[index], f"broken {index}")
        return Image.new("RGB", (6, 5), (index, 255 - index, 9))


def _threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("alexnet-cuda-loader")]


def _expected(n, batch_size, seed, epoch, bad=()):
    """Indices of each batch of a shuffled epoch, by the rule in the documentation, written plainly."""
    order = permutation(seed, Purpose.ORDER, epoch, n).tolist()
    filled = []
    for place in range(n):
        while order[place] in bad:
            place = (place + 1) % n
        filled.append(order[place])
    return [filled[i : i + batch_size] for i in range(0, n, batch_size)]


@pytest.fixture(autouse=True)
def _no_thread_stays():
    yield
    assert not _threads()


def _check(batches, expected):
    batches = list(batches)
    assert [batch.indices.tolist() for batch in batches] == expected
    for images, labels, indices in batches:
        assert images.dtype == np.uint8
        assert images.flags.c_contiguous
        assert images.shape == (len(indices), SIDE, SIDE, 3)
        assert labels.dtype == indices.dtype == np.int64
        np.testing.assert_array_equal(labels, indices % 3)
        colours = np.stack([indices, 255 - indices, np.full_like(indices, 9)], axis=-1)
        np.testing.assert_array_equal(images, np.broadcast_to(colours[:, None, None], images.shape))


@pytest.mark.parametrize("bad", [(), (0, 7, 8, 9, 22)])
@pytest.mark.parametrize("cache_squares", [0, 10, 23])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_order_depends_on_nothing_else(workers, cache_squares, bad):
    cache = cache_squares * SIDE * SIDE * 3
    loader = Loader(Numbered(23, bad), SIDE, 5, seed=11, shuffle=True, workers=workers, cache_bytes=cache)
    assert len(loader) == 5
    expected = {epoch: _expected(23, 5, 11, epoch, bad) for epoch in (0, 1)}
    assert expected[0] != expected[1]
    _check(loader.epoch(1, start_batch=3), expected[1][3:])
    for epoch in (0, 1, 0):
        _check(loader.epoch(epoch), expected[epoch])
    assert list(loader.epoch(0, start_batch=5)) == []
    assert list(loader.skipped.items()) == [(f"{i}.png", f"broken {i}") for i in bad]
    assert not _threads()


@pytest.mark.parametrize("ranks", [1, 3, 4])
def test_ranks_share_every_batch(ranks):
    """Of the last batch, of three images, a fourth rank has none."""
    source = Numbered(23, bad=(0, 7))
    loader = Loader(source, SIDE, 5, seed=11, shuffle=True)
    parts = [list(loader.epoch(2, 1, rank=rank, ranks=ranks)) for rank in range(ranks)]
    for number, whole in enumerate(_expected(23, 5, 11, 2, source.bad)[1:]):
        for rank in range(ranks):
            assert parts[rank][number].indices.tolist() == whole[rank::ranks]
    for rank in (-1, ranks):
        with pytest.raises(ValueError, match=f"rank must lie in 0..{ranks - 1}"):
            loader.epoch(0, rank=rank, ranks=ranks)


def test_a_batch_of_nothing_but_bad_files_is_replaced_in_training_and_left_out_in_evaluation():
    in_order = Loader(Numbered(10, range(4, 9)), SIDE, 2, shuffle=False)
    for epoch in (0, 1):
        _check(in_order.epoch(epoch), [[0, 1], [2, 3], [9]])
    one_left = Loader(Numbered(7, range(6)), SIDE, 2, shuffle=True)
    _check(one_left.epoch(0), [[6, 6], [6, 6], [6, 6], [6]])


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
def test_more_broken_images_than_allowed_end_the_epoch(shuffle, workers):
    def loader(bad, share):
        return Loader(Numbered(10, bad), SIDE, 4, shuffle=shuffle, workers=workers, max_broken=share)

    for bad, share in ((range(3), 0.3), (range(9), 1.0), ((), 0.0)):
        assert list(loader(bad, share).epoch(0))
    for bad, share in ((range(4), 0.3), ((7,), 0.0), (range(10), 0.5)):
        start = rf"of the 10 images of numbered (is|are) broken so far, more than the part of {share:g} that max_broken"
        with pytest.raises(TooManyBroken, match=start + r" \(--max-broken\) allows: .*; \d\.png: broken \d"):
            list(loader(bad, share).epoch(0))
        assert not _threads()
    with pytest.raises(TooManyBroken, match=r"none of the 10 images of numbered can be decoded; .*, 0\.png: broken"):
        list(loader(range(10), 1.0).epoch(0))
    with pytest.raises(TooManyBroken):
        estimate_colour(Numbered(10, (7,)), SIDE, max_broken=0.0)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"max_broken must lie in 0\.\.1"):
            loader((), share)


def test_the_share_of_broken_images_is_of_all_that_are_counted_together():
    """One of four is more than a fifth, one of twelve is not; an image that several loaders meet is one."""
    whole = Numbered(12, (1, 6, 7))
    few, many = whole.subset(range(4)), whole.subset(range(4, 12))
    for most, enough in ((0.25, True), (0.2, False)):
        broken = BrokenImages(most, few, many)
        estimate_colour(many, SIDE, max_broken=broken)
        list(Loader(many, SIDE, 4, shuffle=True, max_broken=broken).epoch(0))
        last = Loader(few, SIDE, 4, shuffle=False, max_broken=broken).epoch(0)
        if enough:
            list(last)
        else:
            with pytest.raises(TooManyBroken, match=r"3 of the 12 images of numbered are broken so far, .* 0\.2 that"):
                list(last)


def test_colour_statistics_close_the_epoch_that_they_leave(monkeypatch):
    original, epochs = Loader.epoch, []

    def epoch(self, number):
        epochs.append(original(self, number))
        return epochs[-1]

    monkeypatch.setattr(Loader, "epoch", epoch)
    estimate_colour(Numbered(9), SIDE, limit=3)
    assert inspect.getgeneratorstate(epochs[0]) == inspect.GEN_CLOSED


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_class_without_an_image_left_is_named_at_once_and_once(shuffle, caplog):
    loader = Loader(Numbered(12, range(1, 12, 3)), SIDE, 2, shuffle=shuffle, workers=3)
    list(loader.epoch(0))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("numbered: no image of class b can be decoded, not one of 4; ")
    list(Loader(Numbered(12, range(1, 9, 3)), SIDE, 2, shuffle=shuffle).epoch(0))  # one of the class is left
    assert len(caplog.messages) == 1


def test_a_broken_image_that_two_threads_meet_counts_once(caplog):
    first, second = permutation(0, Purpose.ORDER, 0, 6)[:2].tolist()
    assert first % 3 != second % 3  # of each class one is left
    meeting = threading.Barrier(2, timeout=30)

    class Both(Numbered):
        def load(self, index, at_least):
            if index == second:
                meeting.wait()  # of the thread whose image it is, and of the one that seeks a substitute
            return super().load(index, at_least)

    loader = Loader(Both(6, (first, second)), SIDE, 1, 0, shuffle=True, workers=2, max_broken=0.4)
    list(loader.epoch(0))
    assert len(loader.skipped) == 2
    assert not caplog.messages


def test_later_epochs_decode_nothing_that_fits_the_cache():
    source = Numbered(20, bad=(3,))
    loader = Loader(source, SIDE, 4, shuffle=False)
    for epoch in (0, 1):
        list(loader.epoch(epoch))
        assert source.loads == 20
    half = Loader(source, SIDE, 4, shuffle=False, cache_bytes=10 * SIDE * SIDE * 3 + 5)
    for epoch in (0, 1):
        list(half.epoch(epoch))
    assert source.loads == 20 + 20 + 10


def test_batches_are_the_readers_own():
    loader = Loader(Numbered(8), SIDE, 4, shuffle=False)
    for batch in loader.epoch(0):
        batch.images[...] = 77
    _check(loader.epoch(1), [[0, 1, 2, 3], [4, 5, 6, 7]])


def test_decoding_runs_ahead_by_a_bounded_number_of_batches():
    source = Numbered(200)
    batches = Loader(source, SIDE, 2, shuffle=False, workers=2, cache_bytes=0).epoch(0)
    next(batches)
    for _ in range(100):  # whatever is under way settles
        before = source.loads
        threading.Event().wait(0.01)
        if source.loads == before:
            break
    assert 2 <= source.loads <= 2 * (1 + 3)
    batches.close()


def test_leaving_an_epoch_does_not_wait_for_the_batch_under_way():
    started = threading.Event()

    class Slow(Numbered):
        def load(self, index, at_least):
            if index == 1:
                started.set()
                threading.Event().wait(0.002)
            return super().load(index, at_least)

    source = Slow(2)
    batches = Loader(source.subset([0] * 400 + [1] * 400), SIDE, 400, shuffle=False, workers=1).epoch(0)
    next(batches)
    assert started.wait(10)
    batches.close()  # the second batch would take 0.8 s
    assert source.loads < 600


@pytest.mark.parametrize("how", ["close", "drop", "interrupt", "error"])
def test_threads_end_however_the_epoch_is_left(how):
    source = Numbered(100)
    batches = Loader(source, SIDE, 2, shuffle=True, workers=3).epoch(0)
    next(batches)
    assert _threads()
    if how == "close":
        batches.close()
    elif how == "drop":
        del batches
    elif how == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt())
    else:
        source.error = RuntimeError("disk on fire")
        with pytest.raises(RuntimeError, match="disk on fire"):
            list(batches)
    assert not _threads()


def test_an_epoch_cannot_go_on_in_a_forked_child_but_begin_there():
    loader = Loader(Numbered(20), SIDE, 2, shuffle=False)
    batches = loader.epoch(0)
    next(batches)

    def child():
        with pytest.raises(RuntimeError, match="begin it anew here"):
            list(batches)
        return len(list(loader.epoch(0)))

    assert exit_code_of_child(child) == 10
    assert len(list(batches)) == 9


def test_a_fork_waits_until_a_broken_image_is_noted():
    loader = Loader(Numbered(20), SIDE, 2, shuffle=False)
    taken = threading.Event()

    def hold():
        with loader.broken.lock:
            taken.set()
            time.sleep(0.2)  # a fork that does not wait is made by then

    def child():
        with loader.broken.lock:
            return 0

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)
    assert exit_code_of_child(child) == 0
    thread.join()


def test_numbers_out_of_range_and_empty_sources():
    for name, value in (("side", 0), ("batch_size", 0), ("workers", 0), ("cache_bytes", -1)):
        with pytest.raises(ValueError, match=name):
            Loader(Numbered(4), **{"side": 4, "batch_size": 2, "shuffle": True, name: value})
    loader = Loader(Numbered(4), SIDE, 3, shuffle=True)
    for epoch, start in ((-1, 0), (0, -1), (0, 3)):
        with pytest.raises(ValueError, match="must"):
            loader.epoch(epoch, start)
    with pytest.raises(ValueError, match="numbered has no images"):
        Loader(Numbered(4).subset([]), SIDE, 3, shuffle=True)
