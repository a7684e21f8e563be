"""`Model`: AlexNet, forward and backward, on one device or split over two as in 2012."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from .backends.devices import offers, open_devices
from .backends.protocol import Device
from .base.params import Views
from .base.turns import Turns, takes_turn
from .checkpoint import save_checkpoint
from .config import Config, config_from_preset
from .convert import read
from .network import checks, views
from .network.initialize import initial_parameters
from .network.inputs import as_array
from .network.lars import trust_ratios
from .network.passes import Network
from .network.plan import Step, build_plan
from .network.result import StepResult
from .network.tensors import Tensors
from .network.tower import Update

Array = npt.NDArray[Any]
Devices = str | tuple[str, ...] | list[str] | None

_NONE: Mapping[str, float] = MappingProxyType({})
_CHUNK = 64  # images that prediction runs through the network at once


class Model:
    """AlexNet.

    Parameters
    ----------
    preset : str
        The published network to start from, of `alexnet_cuda.config.PRESETS`.
    num_classes : int
    image_size : int, optional
        Height and width of the input, pixels; the preset's own by default.
    devices : str or (str, str), optional
        ``"cuda:0"``, ``"cpu"``, or ``"simt"``, the CPU executor of the kernels; two of a kind, or one twice, for two
        towers. By default the first GPU that can run the kernels, else the CPU.
    precision : str
        Of `alexnet_cuda.base.precision.PRECISIONS`; the CPU offers float32 and float64, the kernels all but float64.
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
    devices : tuple of str
        Their names, one a tower.
    step : int
        Updates done so far; it keys dropout and augmentation.
    class_names : tuple of str, or None

    Notes
    -----
    Any number of threads may call a model: they take turns, and each gets what it would get alone. One at a time may
    train: `train_step` in two is a RuntimeError, and so is a `backward` or `sgd_step` where another has begun a step
    since. A pickled or copied model is all but its gradients.

    Raises
    ------
    ValueError, TypeError
        An unknown preset, device or field; a value of a wrong type or out of range; an image too small for the network.
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
        for step in filter(lambda step: step.weight_shape, self.plan.steps):
            for name, value in _initial(self.config, step).items():
                for tower in self.towers:
                    tower.assign("parameters", name, value)

    @classmethod
    def from_config(
        cls,
        config: Config,
        devices: Devices = None,
        parameters: Mapping[str, Array] | None = None,
        cuda_graph: bool = True,
        velocity: Mapping[str, Array] | None = None,
        step: int = 0,
        class_names: tuple[str, ...] | None = None,
    ) -> Model:
        """A model of `config`, on `devices` and with `cuda_graph` as of `Model`.

        What else is given takes the place of the initial `parameters`, of zeros as `velocity`, of `step` 0 and of no
        `class_names`.
        """
        if parameters is None:
            model = cls(devices=devices, cuda_graph=cuda_graph, **config.to_dict())
        else:
            model = cls.__new__(cls)
            model._build(config, open_devices(devices, config.precision, cuda_graph))
            model.set_parameters(parameters)
        if velocity:
            model.set_velocity(velocity)
        model.step, model.class_names = step, class_names
        return model

    def _build(self, config: Config, opened: Sequence[Device]) -> None:
        self.config, self.plan, self.step = config, build_plan(config), 0
        self.class_names: tuple[str, ...] | None = None
        self._network = Network(config, self.plan, opened)
        self.towers, self.link, self._inputs = self._network.towers, self._network.link, self._network.inputs
        self._seen: tuple[int, ...] | None = None  # shape of the images that a backward pass may follow
        self._has_gradients = False
        self._turns = Turns()
        self.devices = tuple(tower.device.name for tower in self.towers)

    def __reduce__(self) -> tuple[Any, ...]:
        with self._turns.take("read"):
            graphs = all(tower.device.graphs for tower in self.towers)
            tensors = dict(self.parameters), graphs, dict(self.velocity)
            return type(self).from_config, (self.config, self.devices, *tensors, self.step, self.class_names)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Name to whole logical tensor: conv1.weight [K, R, S, C / groups], conv1.bias [K], ..., fc8.bias [out].

        Each access gives a copy that is read-only; `set_parameters` changes them.
        """
        return Tensors(self.towers, "parameters", self._turns)

    @property
    def gradients(self) -> Mapping[str, Array]:
        """Like `parameters`: the gradients of the last `backward`; empty before the first.

        `train_step` updates each weight where its gradient is computed and leaves none here.
        """
        if not self._has_gradients:
            return {}
        return Tensors(self.towers, "gradients", self._turns, lambda: self._network.gradient_scale)

    @property
    def velocity(self) -> Mapping[str, Array]:
        """Like `parameters`: the momentum; empty before the first `backward`; `set_velocity` changes it."""
        return Tensors(self.towers, "velocity", self._turns)

    def set_parameters(self, mapping: Mapping[str, Array]) -> None:
        """Replace all parameters, by their names in `mapping`.

        Raises
        ------
        ValueError, TypeError
            A name missing or unknown, a wrong shape, no real numbers, an array on a GPU; nothing is changed then.
        """
        Tensors(self.towers, "parameters", self._turns).replace(mapping)

    def set_velocity(self, mapping: Mapping[str, Array]) -> None:
        """Replace the momentum; errors as `set_parameters`."""
        Tensors(self.towers, "velocity", self._turns).replace(mapping)

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
        ndarray [N, num_classes] of float32, in float64 networks of float64

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype, an empty batch, images smaller than the network's input, NaN or infinity (of images
            on the host only).
        MemoryError
            A batch too large for the device; the message says which would fit.
        """
        images = checks.check_images(as_array(images), self.config)
        return self._forward(images, self._random_views(images) if train else None, train)

    def _random_views(self, images: Array) -> Views | None:
        return views.random_views(images.shape, self.config, self.step) if images.dtype == np.uint8 else None

    def _forward(self, images: Array, chosen: Views | None, train: bool) -> Array:
        self._seen = None
        logits: Array = self._network.forward(images, chosen, self.step, train)
        if train:
            self._seen = tuple(images.shape)
            self._turns.begin_step()
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
        float : the batch's mean cross-entropy

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
        shape = self._seen
        self._inputs.load_labels(checks.check_labels(as_array(labels), shape[0], self.config.num_classes))
        self._seen, self._has_gradients = None, False
        loss = self._network.backward(shape).loss
        self._has_gradients = True
        return loss

    @takes_turn("train")
    def sgd_step(
        self,
        learning_rate: float,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        bias_rate: float = 2.0,
        frozen: Collection[str] = (),
        layer_rates: Mapping[str, float] = _NONE,
    ) -> None:
        """Update the parameters from the gradients; paper section 5.

        ``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, lr `learning_rate`; biases at `bias_rate` times the
        learning rate and without decay. The layers of `frozen` (conv1 to fc8) stay as they are, momentum and all; those
        of `layer_rates` learn at so many times the learning rate, 0 being the same as frozen.

        Raises
        ------
        RuntimeError
            No gradients yet.
        ValueError, TypeError
            A rate that is negative, not finite or no number; a layer that there is not, or every layer frozen.
        """
        rate, momentum, decay, bias = checks.check_update(learning_rate, momentum, weight_decay, bias_rate)
        update = Update(momentum, decay, bias, checks.check_rates(frozen, layer_rates, self.plan.layers))
        if not self._has_gradients:
            raise RuntimeError("sgd_step needs gradients: call forward(images, train=True) and backward(labels) first")
        self._turns.check_step("sgd_step")
        self._inputs.load_learning_rate(rate)
        self._update(update)
        self.step += 1

    def prefetch(self, batches: Iterable[tuple[Any, ...]]) -> Generator[tuple[Any, ...]]:
        """The same batches, each made ready for a GPU while the one before is worked on.

        ``for images, labels in model.prefetch(batches): model.train_step(images, labels)`` leaves to a thread what
        `train_step` and `forward` otherwise do before they return: to check images on the host and to copy them into
        memory that the GPU reads by itself. The thread ends with the iterator, and on other devices there is none.

        Images come first in a batch, as `forward` takes them; what follows is handed on, and so are images that are no
        NumPy arrays. Of those a batch is taken one ahead, and they must not be changed before the batch after them is
        asked for; they come in a read-only array if they were staged, and errors of `forward` when the batch does.
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
        frozen: Collection[str] = (),
        layer_rates: Mapping[str, float] = _NONE,
        accumulate: int = 1,
        lars: float = 0.0,
    ) -> StepResult:
        """Forward, backward and update on one batch; see `forward`, `backward` and `sgd_step`.

        Of frozen layers no gradients are computed, and the backward pass ends at the lowest layer that is not frozen.

        On a GPU it returns when the work is queued, and the result waits for it when it is looked at. After the first
        step with a batch size nothing is allocated; from the second on a graph of the step is replayed. CuPy
        arrays are read in the order of CuPy's current stream: what that does next may overwrite them. Arrays of others,
        by DLPack, are read after what their producer's current stream has to do, and have been read on return.

        With `accumulate` the batch goes through the network in so many parts, for a batch that does not fit: the result
        is the whole batch's but for rounding, its views and dropout included. With `lars`, a trust coefficient such as
        0.001, each layer, weights and biases, learns at ``lars * |w| / (|g| + weight_decay * |w|)`` times its rate, by
        the norms of its weights and their gradients. Either way the update cannot be part of the product that makes the
        gradient, no graph is recorded, and `lars` takes its norms on the host, where weights and gradients go for it.

        An exception that comes from outside while it computes, as that of Ctrl-C, leaves some weights updated and
        others not.

        Raises
        ------
        ValueError, TypeError
            As `forward`, `backward` and `sgd_step`.
        MemoryError
            As `forward`; no parameter has changed then, except where NumPy computes (float64 on the CPU), whose own
            workspace is asked for as it is needed.
        """
        given = images, labels
        images = checks.check_images(as_array(images), self.config)
        labels = checks.check_labels(as_array(labels), len(images), self.config.num_classes)
        rate, momentum, decay, bias = checks.check_update(learning_rate, momentum, weight_decay, bias_rate)
        update = Update(momentum, decay, bias, checks.check_rates(frozen, layer_rates, self.plan.layers))
        checks.check_parts(accumulate, lars)
        self._seen, self._has_gradients = None, False
        self._turns.begin_step()
        chosen = self._random_views(images)
        if accumulate > 1 or lars:
            result = self._network.gradients(images, labels, chosen, self.step, rate, accumulate)
            self._update(update, lars)
        else:
            result = self._network.train_step(images, labels, chosen, self.step, rate, update)
        self._inputs.wait_until_read(*given)
        self.step += 1
        return result

    def _update(self, update: Update, lars: float = 0.0) -> None:
        """Update the parameters from the gradients of the last pass."""
        if lars:
            layers = [layer for layer in self.plan.layers if update.rate(layer)]
            ratios = trust_ratios(self.towers, layers, lars, update.weight_decay, self._network.gradient_scale)
            rates = dict(update.rates) | {layer: update.rate(layer) * ratio for layer, ratio in ratios.items()}
            update = update._replace(rates=tuple(rates.items()))
        for tower in self.towers:
            tower.update(update, self._network.gradient_scale)

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
        checks.check_views(count, images)
        chosen = views.ten_views(images.shape, self.config) if count == 10 else [None]
        each = [_softmax(self._forward(images, view, train=False)) for view in chosen]
        return np.asarray(np.sum(each, axis=0) / len(each), np.float32)

    def predict(
        self, images: Array, top: int = 5, views: int = 1
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The `top` most probable classes of each image and their probabilities, both [N, top]; see `probabilities`.

        Where there are fewer than `top` classes, all of them. Raises as `probabilities`.
        """
        checks.check_top(top)
        probabilities = self.probabilities(images, views)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return order.astype(np.int64), np.take_along_axis(probabilities, order, axis=1)

    @overload
    def features(self, images: Any, layer: str) -> Array: ...

    @overload
    def features(self, images: Any, layer: Sequence[str]) -> dict[str, Array]: ...

    def features(self, images: Any, layer: str | Sequence[str]) -> Array | dict[str, Array]:
        """What the network makes of images at a layer, with nothing dropped out.

        Parameters
        ----------
        images : array [N, H, W, 3]
            As `forward` takes them; of uint8 images the centre.
        layer : str or sequence of str
            A step of `plan`: conv1, lrn1, pool1, ..., fc7, fc8. A convolution's or FC layer's output is after its
            activation; that of fc8 are the logits.

        Returns
        -------
        ndarray [N, height, width, channels], or [N, features], of float32, in float64 networks of float64
            Of a sequence of layers a dictionary of them, by name, from one pass. Two towers give the channels in the
            order of one device.

        Raises
        ------
        ValueError, TypeError, MemoryError
            An unknown layer, or none; and as `forward`.
        """
        wanted = (layer,) if isinstance(layer, str) else tuple(layer)
        checks.check_layers(wanted, [step.name for step in self.plan.steps])
        images = checks.check_images(as_array(images), self.config)
        chunks = [self._features(images[i : i + _CHUNK], wanted) for i in range(0, len(images), _CHUNK)]
        found = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in wanted}
        return found[layer] if isinstance(layer, str) else found

    @takes_turn("predict")
    def _features(self, images: Array, wanted: Collection[str]) -> dict[str, Array]:
        self._seen = None
        return self._network.features(images, set(wanted))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and configuration to a safetensors file at `path`, all or nothing.

        Raises
        ------
        ValueError, TypeError, OSError
            A parameter holds NaN or infinity, or `class_names` are not as many texts as there are classes, and nothing
            is written; what the file system says, with the file's name.
        """
        if self.class_names is not None:
            names = checks.check_names("class_names must be a sequence of texts", self.class_names)
            if len(names) != self.config.num_classes:
                raise ValueError(f"class_names are {len(names)}, expected {self.config.num_classes}")
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
        classes: int | Sequence[str] | None = None,
        **overrides: Any,
    ) -> Model:
        """The model of the file at `path`: a checkpoint, or another framework's (see `alexnet_cuda.convert.read`).

        `devices` and `cuda_graph` as in `Model`; the precision is the checkpoint's own by default, and where the
        devices do not offer that, float32.

        Parameters
        ----------
        classes : int or sequence of str, optional
            To go on from its weights to other classes, so many or these by name: step 0, and the last layer is drawn
            anew, as of a new model, unless it has these classes already (the same names; of a number, as many).
        **overrides
            Fields of `Config` in place of the checkpoint's, as of `Model`: ``dropout=0.2``, ``mirror=False``, ``seed``
            and ``init`` for a new last layer.

        Raises
        ------
        FileNotFoundError
            No such file.
        ValueError, TypeError
            Not a whole checkpoint of this format, or tensors that do not fit its configuration; of another framework's
            file, the layer that this package does not have; no such field.
        ImportError
            The package that reads another framework's format is not installed.
        """
        names = None
        if classes is not None and not isinstance(classes, (int, np.integer)):
            names = checks.check_names("classes must be a number or a sequence of names", classes)
        found = read(path)
        config, class_names, step, parameters = found.config, found.class_names, found.step, found.parameters
        if precision is None:
            precision = config.precision if offers(devices, config.precision) else "float32"
        config = Config.from_dict({**config.to_dict(), **overrides, "precision": precision})
        if classes is not None:
            step = 0
            count: Any = classes if names is None else len(names)
            if count != config.num_classes or (names is not None and names != class_names):
                config = dataclasses.replace(config, num_classes=count)
                parameters, class_names = {**parameters, **_initial(config, build_plan(config).steps[-1])}, names
        return cls.from_config(config, devices, parameters, cuda_graph, None, step, class_names)


def _initial(config: Config, step: Step) -> dict[str, Array]:
    """The initial parameters of a step, by name."""
    each = zip(("weight", "bias"), initial_parameters(config, step), strict=True)
    return {f"{step.name}.{kind}": value for kind, value in each}


def _softmax(logits: Array) -> Array:
    from .backends.cpu.softmax_cross_entropy import softmax

    with np.errstate(invalid="ignore"):  # which is an error of its own; of minus infinity it would be a 0 like others
        return np.where(np.isfinite(logits).all(axis=1, keepdims=True), softmax(logits), np.nan)
