"""`Model`: AlexNet, forward and backward, on one device or split over two as in 2012."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from .backends.devices import offers, open_devices
from .base.array import DeviceMemoryError
from .base.params import Views
from .base.precision import loss_scale
from .base.turns import Turns, takes_turn
from .config import Config, config_from_preset
from .network import checks, views
from .network.initialize import initial_parameters
from .network.inputs import Inputs, as_array
from .network.passes import Network
from .network.plan import Plan, build_plan
from .network.result import StepResult
from .network.tensors import Tensors
from .network.tower import Pass, Update

Array = npt.NDArray[Any]
Devices = str | tuple[str, ...] | list[str] | None

# Images that prediction runs through the network at once.
_CHUNK = 64


class Model:
    """AlexNet.

    Parameters
    ----------
    preset : {"paper", "caffe", "caffenet", "torchvision"}
        The published network to start from; see `alexnet_cuda.config.PRESETS`.
    num_classes : int
    image_size : int, optional
        Height and width of the input, pixels; the preset's own by default.
    devices : str or (str, str), optional
        ``"cuda:0"``, ``"cpu"``, or ``"simt"``, the CPU executor of the kernels; two of a kind for the two towers:
        ``("cuda:0", "cuda:1")``, or the same one twice. By default the first GPU that can run the kernels, else the
        CPU.
    precision : {"float32", "float64", "tf32", "bfloat16", "float16"}
        Of activations and products; see `alexnet_cuda.base.precision`. The CPU offers the first two, the kernels
        all but float64.
    init : {"paper", "he"}
        "paper": as published with the preset. "he": learns from the first step also on small data.
    seed : int
        Keys initial weights, dropout and augmentation: the same seed, the same bits.
    cuda_graph : bool
        Whether on GPUs `train_step`, and `forward` without ``train``, are recorded as a CUDA graph at their second call
        with a batch size, and replayed.
    **overrides
        Any other field of `alexnet_cuda.config.Config`: ``activation="tanh"``, ``lrn=False``, ``groups=1``, ...

    Attributes
    ----------
    config : Config
    plan : Plan
        The steps, their shapes, and what crosses between two towers.
    step : int
        Updates done so far; it keys dropout and augmentation.
    class_names : tuple of str, or None

    Notes
    -----
    Any number of threads may call a model: they take turns, and each gets what it would get alone. One of them at a
    time may train; `train_step` in two at once is a RuntimeError, and so is a `backward` or `sgd_step` where another
    thread has begun a step after the `forward` that it belongs to. A pickled or copied model is its configuration,
    parameters, momentum, step, class names and devices; gradients are not kept.

    Raises
    ------
    ValueError
        An unknown preset, device or field; a value out of range; an image too small for the network.
    TypeError
        A value of a wrong type.
    """

    def __init__(
        self,
        preset: str = "paper",
        num_classes: int = 1000,
        image_size: int | None = None,
        devices: Devices = None,
        precision: str = "float32",
        init: str = "paper",
        seed: int = 0,
        cuda_graph: bool = True,
        **overrides: Any,
    ) -> None:
        fields = {"num_classes": num_classes, "precision": precision, "init": init, "seed": seed, **overrides}
        config = config_from_preset(preset, image_size, **fields)
        self._build(config, open_devices(devices, config.precision, cuda_graph))
        for step in self.plan.steps:
            if step.weight_shape:
                for kind, value in zip(("weight", "bias"), initial_parameters(self.config, step), strict=True):
                    self._assign("parameters", f"{step.name}.{kind}", value)

    @classmethod
    def from_config(
        cls,
        config: Config,
        devices: Devices = None,
        parameters: Mapping[str, Array] | None = None,
        cuda_graph: bool = True,
    ) -> Model:
        """A model of a configuration, with the given parameters instead of the initial ones if there are any."""
        if parameters is None:
            fields = config.to_dict()
            return cls(devices=devices, cuda_graph=cuda_graph, **fields)
        model = cls._on(config, open_devices(devices, config.precision, cuda_graph))
        model.set_parameters(parameters)
        return model

    @classmethod
    def _on(cls, config: Config, opened: list[Any]) -> Model:
        model = cls.__new__(cls)
        model._build(config, opened)
        return model

    def _build(self, config: Config, opened: list[Any]) -> None:
        self.config: Config = config
        self.plan: Plan = build_plan(config)
        self.step = 0
        self.class_names: tuple[str, ...] | None = None
        self._network = Network(config, self.plan, opened)
        self.towers, self.link = self._network.towers, self._network.link
        self._inputs = Inputs(config, self.towers)
        self._seen: tuple[int, ...] | None = None  # shape of the images that a backward pass may follow
        self._rehearsed: set[tuple[Any, ...]] = set()  # images whose training step has all its memory
        self._gradient_scale = 1.0
        self._has_gradients = False
        self._turns = Turns()

    def __getstate__(self) -> dict[str, Any]:
        with self._turns.take("read"):
            return {
                "config": self.config,
                "devices": self.devices,
                "cuda_graph": all(getattr(tower.device, "graphs", True) for tower in self.towers),
                "parameters": dict(self.parameters),
                "velocity": dict(self.velocity),
                "step": self.step,
                "class_names": self.class_names,
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        config = state["config"]
        self._build(config, open_devices(state["devices"], config.precision, state["cuda_graph"]))
        self.set_parameters(state["parameters"])
        if state["velocity"]:
            self.set_velocity(state["velocity"])
        self.step, self.class_names = state["step"], state["class_names"]

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices, one a tower."""
        return tuple(tower.device.name for tower in self.towers)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Name to whole logical tensor: conv1.weight [K, R, S, C / groups], conv1.bias [K], ..., fc8.bias [out].

        Each access gives a copy that is read-only; `set_parameters` changes them.
        """
        return Tensors(self.towers, "parameters", self._turns)

    @property
    def gradients(self) -> Mapping[str, Array]:
        """Like `parameters`: the gradients of the last `backward`; empty before the first.

        `train_step` on the kernels updates each weight where its gradient is computed and leaves none here.
        """
        if not self._has_gradients:
            return {}
        return Tensors(self.towers, "gradients", self._turns, lambda: self._gradient_scale)

    @property
    def velocity(self) -> Mapping[str, Array]:
        """Like `parameters`: the momentum; empty before the first `backward`; `set_velocity` changes it."""
        return Tensors(self.towers, "velocity", self._turns)

    def set_parameters(self, mapping: Mapping[str, Array]) -> None:
        """Replace all parameters.

        Raises
        ------
        ValueError, TypeError
            A name missing or unknown, a wrong shape, no real numbers, an array on a GPU; nothing is changed then.
        """
        self._set("parameters", mapping)

    def set_velocity(self, mapping: Mapping[str, Array]) -> None:
        """Replace the momentum; errors as `set_parameters`."""
        self._set("velocity", mapping)

    def _set(self, kind: str, mapping: Mapping[str, Array]) -> None:
        arrays = checks.check_tensors(kind, mapping, self.plan.parameter_shapes())
        with self._turns.take("write"):
            for tower in self.towers:
                if kind == "velocity":
                    tower.start_training(gradients=False)
            for name, array in arrays.items():
                self._assign(kind, name, array)

    def _assign(self, kind: str, name: str, value: Array) -> None:
        for tower in self.towers:
            tower.assign(kind, name, value)

    @takes_turn("predict")
    def forward(self, images: Array, train: bool = False) -> Array:
        """Logits of a batch.

        Parameters
        ----------
        images : array [N, H, W, 3]
            NumPy, CuPy, or anything with DLPack; an array on the model's GPU is read where it is. Floating point:
            preprocessed, of exactly the network's input size. uint8: RGB, cropped and normalised as the configuration
            says, in training at random places, mirrored and with colour noise, else at the centre.
        train : bool
            Whether `backward` is to follow: drops out, and keeps the activations.

        Returns
        -------
        ndarray [N, num_classes]
            float32, in float64 networks float64, on the host.

        Raises
        ------
        ValueError
            A wrong shape, an empty batch, images smaller than the network's input, NaN or infinity (of images on the
            host only).
        TypeError
            A dtype that is neither uint8 nor floating point.
        MemoryError
            A batch too large for the device; the message says which would fit.
        """
        images = checks.check_images(as_array(images), self.config)
        random = train and images.dtype == np.uint8
        chosen = views.random_views(images.shape, self.config, self.step) if random else None
        return self._forward(images, chosen, train)

    def _forward(self, images: Array, chosen: Views | None, train: bool) -> Array:
        self._seen = None
        with self._memory(images.shape, images.dtype, train):
            halves = self._inputs.load(images, chosen, self.step)

            def work() -> None:
                self._network.forward(halves, Pass(train))

            if train:
                work()
                self._seen = tuple(images.shape)
                self._turns.begin_step()
            else:
                self._run(("forward", len(images)), work)
        logits: Array = self._network.logits(len(images))
        return logits

    @takes_turn("train")
    def backward(self, labels: Any) -> float:
        """Fill `gradients` from the batch of the last ``forward(train=True)``.

        Parameters
        ----------
        labels : integer array [N], each in [0, num_classes)
            On the host, or int64 on the model's GPU; a label out of range is found on the host only, on a GPU it makes
            the loss NaN.

        Returns
        -------
        float
            The mean cross-entropy of the batch.

        Raises
        ------
        RuntimeError
            No ``forward(train=True)`` before it.
        ValueError, TypeError
            Labels of another number, range or type.
        """
        if self._seen is None:
            raise RuntimeError(
                "backward needs a forward(images, train=True) before it, takes it only once, and loses it to what any "
                "thread computes in between"
            )
        self._turns.check_step("backward")
        shape, batch = self._seen, self._seen[0]
        self._inputs.load_labels(checks.check_labels(as_array(labels), batch, self.config.num_classes))
        self._seen, self._has_gradients = None, False
        with self._memory(shape, np.dtype(np.uint8), True):
            for tower in self.towers:
                tower.start_training(gradients=True)
            run = self._training_pass(batch, None)
            self._network.backward(batch, run)
        self._has_gradients = True
        return self._network.result(batch).loss

    def _training_pass(self, batch: int, update: Update | None) -> Pass:
        self._gradient_scale = 1.0 / loss_scale(self.config.precision, batch)
        return Pass(True, self._gradient_scale, update)

    @takes_turn("train")
    def sgd_step(
        self, learning_rate: float, momentum: float = 0.9, weight_decay: float = 5e-4, bias_rate: float = 2.0
    ) -> None:
        """Update the parameters from the gradients; paper section 5.

        ``v <- momentum v - weight_decay lr w - lr g; w <- w + v``; biases at `bias_rate` times the learning rate and
        without decay.

        Raises
        ------
        RuntimeError
            No gradients yet.
        ValueError, TypeError
            A rate that is negative, not finite or no number.
        """
        rate, *rates = checks.check_update(learning_rate, momentum, weight_decay, bias_rate)
        if not self._has_gradients:
            raise RuntimeError("sgd_step needs gradients: call forward(images, train=True) and backward(labels) first")
        self._turns.check_step("sgd_step")
        self._inputs.load_learning_rate(rate)
        for tower in self.towers:
            tower.update(Update(*rates), self._gradient_scale)
        self.step += 1

    def prefetch(self, batches: Iterable[tuple[Any, ...]]) -> Generator[tuple[Any, ...]]:
        """The same batches, each made ready for a GPU while the one before is worked on.

        ``for images, labels in model.prefetch(batches): model.train_step(images, labels)`` leaves to a thread what
        `train_step` and `forward` otherwise do before they return: to check images on the host and to copy them into
        memory that the GPU reads by itself. The thread ends with the iterator, and on other devices there is none.

        Parameters
        ----------
        batches : iterable of tuple
            Images first, as `forward` takes them; what follows is handed on. Of NumPy images a batch is taken one
            ahead, and they must not be changed before the batch after them is asked for; others are handed on.

        Yields
        ------
        tuple
            The images, in a read-only array if they were staged, and what followed them.

        Raises
        ------
        ValueError, TypeError
            As `forward`, when the batch comes up.
        """
        return self._inputs.prefetch(batches)

    @takes_turn("train")
    def train_step(
        self,
        images: Any,
        labels: Any,
        *,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        bias_rate: float = 2.0,
    ) -> StepResult:
        """Forward, backward and update on one batch; see `forward`, `backward` and `sgd_step`.

        On a GPU it returns when the work is queued, and the result waits for it when it is looked at. After the first
        step with a batch size nothing is allocated; from the second on a graph of the step is replayed. CuPy
        arrays are read in the order of CuPy's current stream: what that does next may overwrite them. Arrays of others,
        by DLPack, are read after what their producer's current stream has to do, and have been read on return.

        Raises
        ------
        ValueError, TypeError
            As `forward` and `backward`; and a rate that is negative, not finite or no number.
        MemoryError
            As `forward`; no parameter has changed then.
        """
        given = images, labels
        images = checks.check_images(as_array(images), self.config)
        labels = checks.check_labels(as_array(labels), len(images), self.config.num_classes)
        rate, *rates = checks.check_update(learning_rate, momentum, weight_decay, bias_rate)
        batch, update = len(images), Update(*rates)
        random = images.dtype == np.uint8
        chosen = views.random_views(images.shape, self.config, self.step) if random else None
        self._seen, self._has_gradients = None, False
        self._turns.begin_step()
        fused = all(tower.device.fuses_update for tower in self.towers)
        with self._memory(images.shape, images.dtype, True):
            for tower in self.towers:
                tower.start_training(gradients=not fused)
            run = self._training_pass(batch, update)
            if fused:
                self._rehearse(images, chosen, labels, run)
            halves = self._inputs.load(images, chosen, self.step, labels, rate)

            def work() -> None:
                self._network.forward(halves, run)
                self._network.backward(batch, run)
                if not fused:
                    for tower in self.towers:
                        tower.update(update, self._gradient_scale)

            self._run(("train_step", batch, update), work)
        self._inputs.wait_until_read(*given)
        self.step += 1
        self._has_gradients = not fused
        return self._network.result(batch)

    def _run(self, key: tuple[Any, ...], work: Callable[[], None]) -> None:
        device, *others = (tower.device for tower in self.towers)
        device.run(key, work, *others)

    def _rehearse(self, images: Array, chosen: Views | None, labels: Array, run: Pass) -> None:
        """Make all arrays of a step before its work begins: half done, it would leave half of the weights updated."""
        key = (images.shape, images.dtype)
        if key in self._rehearsed:
            return
        with ExitStack() as devices:
            for tower in self.towers:
                devices.enter_context(tower.device.rehearsal())
            self._network.forward(self._inputs.load(images, chosen, self.step, labels), run)
            self._network.backward(len(images), run)
        self._rehearsed.add(key)

    @contextmanager
    def _memory(self, shape: tuple[int, ...], dtype: np.dtype[Any], train: bool) -> Iterator[None]:
        """Say of images that do not fit a device how many would."""
        try:
            yield
        except DeviceMemoryError as error:
            from .network.memory import advice

            raise MemoryError(
                advice(type(self)._on, self.config, self.towers, tuple(shape), dtype.name, train)
            ) from error

    def probabilities(self, images: Array, views: int = 1) -> npt.NDArray[np.float32]:
        """Softmax of the logits, float32 [N, num_classes].

        `views` 1 takes the centre of uint8 images; 10 the mean over the four corners and the centre, each also
        mirrored, as the paper's results do (section 4.1). See `forward` for `images`.

        Raises
        ------
        OutputsNotFinite
            A ValueError: the logits hold NaN or infinity. It names the parameter that does, if one does.
        ValueError, TypeError, MemoryError
            As `forward`; another number of views.
        """
        images = checks.check_images(as_array(images), self.config)
        chunks = range(0, len(images), _CHUNK)
        found = np.concatenate([self._probabilities(images[i : i + _CHUNK], views) for i in chunks])
        checks.check_outputs(found, self.parameters)
        return found

    @takes_turn("predict")
    def _probabilities(self, images: Array, count: int) -> npt.NDArray[np.float32]:
        chosen: list[Views | None] = [None]
        if count == 10:
            if images.dtype != np.uint8:
                raise TypeError(f"ten views need uint8 images to crop from, got {images.dtype}")
            chosen = [*views.ten_views(images.shape, self.config)]
        elif count != 1:
            raise ValueError(f"views must be 1 or 10, got {count}")
        softmax = [_softmax(self._forward(images, view, train=False)) for view in chosen]
        mean: npt.NDArray[np.float32] = (np.sum(softmax, axis=0) / len(softmax)).astype(np.float32)
        return mean

    def predict(
        self, images: Array, top: int = 5, views: int = 1
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The `top` most probable classes of each image and their probabilities, both [N, top]; see `probabilities`.

        Where there are fewer than `top` classes, all of them. Raises as `probabilities`.
        """
        if isinstance(top, bool) or not isinstance(top, (int, np.integer)):
            raise TypeError(f"top must be an integer, got {top!r}")
        if top < 1:
            raise ValueError(f"top must be positive, got {top}")
        probabilities = self.probabilities(images, views)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return order.astype(np.int64), np.take_along_axis(probabilities, order, axis=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and configuration to a safetensors file, all or nothing.

        Raises
        ------
        ValueError
            A parameter holds NaN or infinity, or `class_names` are not as many as the classes; nothing is written.
        OSError
            What the file system says, with the file's name.
        """
        from .checkpoint import save_checkpoint

        if self.class_names is not None and len(self.class_names) != self.config.num_classes:
            raise ValueError(f"class_names are {len(self.class_names)}, expected {self.config.num_classes}")
        with self._turns.take("read"):
            metadata = {"config": self.config.to_dict(), "class_names": self.class_names, "step": self.step}
            parameters = dict(self.parameters)
        if name := checks.not_finite(parameters):
            raise ValueError(f"{name} holds NaN or infinity: {os.fspath(path)} is not written (pickle takes any model)")
        save_checkpoint(path, parameters, metadata)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        devices: Devices = None,
        precision: str | None = None,
        cuda_graph: bool = True,
    ) -> Model:
        """The model of a checkpoint, whatever wrote it: the file holds whole tensors in float32 or float64.

        Parameters
        ----------
        path : path
        devices : str or (str, str), optional
            As in `Model`.
        precision : str, optional
            Its own by default; where the devices do not offer that, float32.
        cuda_graph : bool
            As in `Model`.

        Raises
        ------
        FileNotFoundError
            No such file.
        ValueError
            Not a whole checkpoint of this format, or tensors that do not fit its configuration.
        """
        from .checkpoint import load_checkpoint

        checkpoint = load_checkpoint(path)
        config, class_names, step = checkpoint.network()
        checkpoint.check_shapes(build_plan(config).parameter_shapes())
        if precision is None and not offers(devices, config.precision):
            precision = "float32"
        if precision is not None:
            config = dataclasses.replace(config, precision=precision)
        model = cls.from_config(config, devices, checkpoint.parameters(), cuda_graph)
        model.class_names = class_names
        model.step = step
        return model


def _softmax(logits: Array) -> Array:
    from .backends.cpu.softmax_cross_entropy import softmax

    with np.errstate(invalid="ignore"):  # which is an error of its own; of minus infinity it would be a 0 like others
        return np.where(np.isfinite(logits).all(axis=1, keepdims=True), softmax(logits), np.nan)
