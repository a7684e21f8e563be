"""`Model`: AlexNet, forward and backward, on one device or split over two as in 2012."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import checks, ops, views
from .backends.cpu.augment import Views
from .config import Config, config_from_preset
from .devices import open_devices
from .initialize import initial_parameters
from .plan import Plan, build_plan
from .towers import Link, Pass, Tower

Array = npt.NDArray[Any]
Devices = str | tuple[str, ...] | list[str] | None

# Images that prediction runs through the network at once.
_CHUNK = 64


@dataclass(frozen=True)
class StepResult:
    """What a training step saw before its update: mean cross-entropy, and how many images were classified right."""

    loss: float
    correct: int


class Tensors(Mapping[str, Array]):
    """Whole logical tensors by name, put together from the towers when asked for. Treat them as read-only."""

    def __init__(self, towers: list[Tower], kind: str) -> None:
        self._towers, self._kind = towers, kind

    def __getitem__(self, name: str) -> Array:
        parts = [tower.device.download(getattr(tower, self._kind)[name]) for tower in self._towers]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(getattr(self._towers[0], self._kind))

    def __len__(self) -> int:
        return len(getattr(self._towers[0], self._kind))


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
        ``"cpu"``, or two devices for the two towers: ``("cpu", "cpu")``.
    precision : {"float32", "float64"}
        Of weights and activations.
    init : {"paper", "he"}
        "paper": as published with the preset. "he": learns from the first step also on small data.
    seed : int
        Keys initial weights, dropout and augmentation: the same seed, the same bits.
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
        **overrides: Any,
    ) -> None:
        fields = {"num_classes": num_classes, "precision": precision, "init": init, "seed": seed, **overrides}
        self._build(config_from_preset(preset, image_size, **fields), devices)
        for step in self.plan.steps:
            if step.weight_shape:
                for kind, value in zip(("weight", "bias"), initial_parameters(self.config, step), strict=True):
                    self._assign("parameters", f"{step.name}.{kind}", value)

    @classmethod
    def from_config(
        cls, config: Config, devices: Devices = None, parameters: Mapping[str, Array] | None = None
    ) -> Model:
        """A model of a configuration, with the given parameters instead of the initial ones if there are any."""
        if parameters is None:
            fields = config.to_dict()
            return cls(devices=devices, **fields)
        model = cls.__new__(cls)
        model._build(config, devices)
        model.set_parameters(parameters)
        return model

    def _build(self, config: Config, devices: Devices) -> None:
        opened = open_devices(devices, config.precision)
        self.config: Config = config
        self.plan: Plan = build_plan(config)
        self.step = 0
        self.class_names: tuple[str, ...] | None = None
        self.towers = [Tower(config, self.plan, i, len(opened), device) for i, device in enumerate(opened)]
        self.link = Link(self.towers) if len(opened) == 2 else None
        self._logits: list[Array] | None = None
        self._run = Pass(False, config.seed, 0)
        self._correct = 0

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices, one a tower."""
        return tuple(tower.device.name for tower in self.towers)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Name to whole logical tensor: conv1.weight [K, R, S, C / groups], conv1.bias [K], ..., fc8.bias [out]."""
        return Tensors(self.towers, "parameters")

    @property
    def gradients(self) -> Mapping[str, Array]:
        """Like `parameters`: the gradients of the last `backward`; empty before the first."""
        return Tensors(self.towers, "gradients")

    @property
    def velocity(self) -> Mapping[str, Array]:
        """Like `parameters`: the momentum; empty before the first `backward`."""
        return Tensors(self.towers, "velocity")

    def set_parameters(self, mapping: Mapping[str, Array]) -> None:
        """Replace all parameters.

        Raises
        ------
        ValueError
            A name missing or unknown, or a wrong shape; nothing is changed then.
        """
        self._set("parameters", mapping)

    def set_velocity(self, mapping: Mapping[str, Array]) -> None:
        """Replace the momentum; errors as `set_parameters`."""
        for tower in self.towers:
            tower.start_training()
        self._set("velocity", mapping)

    def _set(self, kind: str, mapping: Mapping[str, Array]) -> None:
        shapes = self.plan.parameter_shapes()
        checks.check_tensors(kind, mapping, shapes)
        for name in shapes:
            self._assign(kind, name, np.asarray(mapping[name]))

    def _assign(self, kind: str, name: str, value: Array) -> None:
        for tower in self.towers:
            lo, hi = tower.channels(len(value))
            getattr(tower, kind)[name][...] = tower.device.upload(value[lo:hi])

    def forward(self, images: Array, train: bool = False) -> Array:
        """Logits of a batch.

        Parameters
        ----------
        images : array [N, H, W, 3]
            Floating point: preprocessed, of exactly the network's input size. uint8: RGB, cropped and normalised as
            the configuration says, in training at random places, mirrored and with colour noise, else at the centre.
        train : bool
            Whether `backward` is to follow: drops out, and keeps the activations.

        Returns
        -------
        ndarray [N, num_classes]

        Raises
        ------
        ValueError
            A wrong shape, an empty batch, images smaller than the network's input, NaN or infinity.
        TypeError
            A dtype that is neither uint8 nor floating point.
        """
        images = checks.check_images(images, self.config)
        random = train and images.dtype == np.uint8
        chosen = views.random_views(images.shape, self.config, self.step) if random else None
        return self._forward(images, chosen, train)

    def _forward(self, images: Array, chosen: Views | None, train: bool) -> Array:
        self._logits = None
        self._run = run = Pass(train, self.config.seed, self.step)
        if images.dtype == np.uint8 and chosen is None:
            chosen = views.fixed_views(images.shape, self.config, "centre", False)
        halves = [self._input(tower, images, chosen) for tower in self.towers]
        for number, step in enumerate(self.plan.steps):
            if step.crosses and self.link:
                halves = self.link.gather(step.name, halves, step.input[-1])
            halves = [tower.forward(number, x, run) for tower, x in zip(self.towers, halves, strict=True)]
        if self.link:
            halves = self.link.gather("logits", halves, self.config.num_classes)
        if train:
            self._logits = halves
        return np.array(self.towers[0].device.download(halves[0]))

    def _input(self, tower: Tower, images: Array, chosen: Views | None) -> Array:
        c = self.config
        x: Array = tower.buffer("input", (len(images), c.image_size, c.image_size, 3))
        if chosen is None:
            x[...] = tower.device.upload(images.astype(tower.dtype, copy=False))
            return x
        pixels = tower.device.upload(np.ascontiguousarray(images))
        ops.augment.fprop(pixels, chosen, mean=c.mean, std=c.std, channel_order=c.channel_order, out=x)
        return x

    def backward(self, labels: npt.ArrayLike) -> float:
        """Fill `gradients` from the batch of the last ``forward(train=True)``.

        Parameters
        ----------
        labels : integer array [N], each in [0, num_classes)

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
        if self._logits is None:
            raise RuntimeError("backward needs a forward(images, train=True) before it, and takes it only once")
        checked = checks.check_labels(labels, len(self._logits[0]), self.config.num_classes)
        halves = []
        for tower, logits in zip(self.towers, self._logits, strict=True):
            tower.start_training()
            whole = tower.buffer("dlogits", logits.shape)
            there = tower.device.upload(checked)
            loss, correct = ops.softmax_cross_entropy.fprop(logits, there, scale=1.0 / len(checked), dlogits=whole)
            lo, hi = tower.channels(self.config.num_classes)
            half = tower.buffer("dlogits.half", (len(logits), hi - lo))
            tower.device.copy_from(half, whole[:, lo:hi])
            halves.append(half)
        self._logits = None
        for number in reversed(range(len(self.plan.steps))):
            step = self.plan.steps[number]
            wholes = [t.backward(number, dy, self._run) for t, dy in zip(self.towers, halves, strict=True)]
            halves = self.link.reduce(step.name, wholes) if step.crosses and self.link else wholes
        device = self.towers[0].device
        self._correct = int(device.download(correct).sum())
        return float(device.download(loss).astype(np.float64).mean())

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
        """
        if not self.gradients:
            raise RuntimeError("sgd_step needs gradients: call forward(images, train=True) and backward(labels) first")
        for tower in self.towers:
            for name, value in tower.parameters.items():
                bias = name.endswith(".bias")
                ops.sgd.update(
                    value,
                    tower.velocity[name],
                    tower.gradients[name],
                    learning_rate=learning_rate * (bias_rate if bias else 1.0),
                    momentum=momentum,
                    weight_decay=0.0 if bias else weight_decay,
                )
        self.step += 1

    def train_step(
        self,
        images: Array,
        labels: npt.ArrayLike,
        *,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        bias_rate: float = 2.0,
    ) -> StepResult:
        """Forward, backward and update on one batch; see `forward`, `backward` and `sgd_step`."""
        checks.check_labels(labels, len(images), self.config.num_classes)
        self.forward(images, train=True)
        loss = self.backward(labels)
        self.sgd_step(learning_rate, momentum, weight_decay, bias_rate)
        return StepResult(loss, self._correct)

    def probabilities(self, images: Array, views: int = 1) -> npt.NDArray[np.float32]:
        """Softmax of the logits, float32 [N, num_classes].

        `views` 1 takes the centre of uint8 images; 10 the mean over the four corners and the centre, each also
        mirrored, as the paper's results do (section 4.1). See `forward` for `images`.
        """
        images = checks.check_images(images, self.config)
        chunks = range(0, len(images), _CHUNK)
        return np.concatenate([self._probabilities(images[i : i + _CHUNK], views) for i in chunks])

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

        Where there are fewer than `top` classes, all of them.
        """
        if top < 1:
            raise ValueError(f"top must be positive, got {top}")
        probabilities = self.probabilities(images, views)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return order.astype(np.int64), np.take_along_axis(probabilities, order, axis=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and configuration to a safetensors file, all or nothing."""
        from .checkpoint import save_checkpoint

        metadata = {"config": self.config.to_dict(), "class_names": self.class_names, "step": self.step}
        save_checkpoint(path, self.parameters, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], devices: Devices = None) -> Model:
        """The model of a checkpoint.

        Raises
        ------
        FileNotFoundError
            No such file.
        ValueError
            Not a whole checkpoint of this format, or tensors that do not fit its configuration.
        """
        from .checkpoint import load_checkpoint

        checkpoint = load_checkpoint(path)
        try:
            config = Config.from_dict(checkpoint.metadata["config"])
            names = checkpoint.metadata.get("class_names")
            step = int(checkpoint.metadata.get("step", 0))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} holds no usable configuration: {error}") from error
        checkpoint.check_shapes(build_plan(config).parameter_shapes())
        model = cls.from_config(config, devices, checkpoint.parameters())
        model.class_names = None if names is None else tuple(names)
        model.step = step
        return model


def _softmax(logits: Array) -> Array:
    from .backends.cpu.softmax_cross_entropy import softmax

    return softmax(logits)
