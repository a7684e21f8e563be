"""The studies, each a plan that is data."""

from __future__ import annotations

from .plan import Study, Variant

_ERROR, _TO_25, _TO_10 = "validation error", "epochs to 25 % training error", "epochs to 10 % training error"
_LOSS, _GAP = "training loss", "validation loss less training loss"
_SMALL = (
    "A narrow network and few images: on another network or source the answer may be another. "
    "Intervals are over seeds (weights, order, split), not over data sets."
)
_PLAIN = {"mirror": False, "colour_noise": 0.0}


def _fields(**config: object) -> dict[str, object]:
    return {"config": config}


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            "counts",
            "Why does a convolutional network have fewer parameters and connections, and how many has this one?",
            (),
            "The shapes of all layers' outputs, those of the preset `paper` at 227 pixels; nothing is trained.",
            (),
            "The paper says 60 million parameters and 650,000 neurons. A table that is often copied counts conv2, conv4 "
            "and conv5 as if each kernel saw the maps of both towers, which makes 62,378,344 parameters.",
            "How much of what a fully connected layer could express is lost; only that it could not be stored.",
        ),
        Study(
            "relu",
            "Why ReLU: how many epochs to 25 % training error against tanh (the paper's Figure 1)?",
            (Variant("relu"), Variant("tanh", _fields(activation="tanh"))),
            "Network, initial weights, batch, momentum; no dropout, no weight decay, no mirror, no colour noise, a constant "
            "rate: for each unit the best of three, found on a seed of its own.",
            (_TO_25, _ERROR),
            "Krizhevsky et al. (2012), Figure 1: a network of four layers on CIFAR-10 gets there six times as fast with ReLU. "
            "Glorot, Bordes and Bengio (AISTATS 2011) give the reason: no gradient is lost in a unit that is saturated.",
            "Logistic units, which the network does not have. The initial weights are He's, made for ReLU. " + _SMALL,
            {"schedule": "constant", "weight_decay": 0.0, **_fields(dropout=0.0, **_PLAIN)},
            (0.003, 0.01, 0.03),
            ("start",),
        ),
        Study(
            "lrn",
            "Does local response normalisation help?",
            (Variant("lrn"), Variant("no lrn", _fields(lrn=False)), Variant("across", _fields(lrn_window="across"))),
            "Everything but the normalisation; `across`: windows do not stop at the border between the towers.",
            (_ERROR, _LOSS),
            "The paper: 1.4 and 1.2 points of top-1 and top-5 error. Simonyan and Zisserman (arXiv 1409.1556) found no gain "
            "in a deeper network, at the price of memory and time.",
            "Time: `alexnet-cuda study lrn --dry-run` measures a step of each on this machine. " + _SMALL,
        ),
        Study(
            "pooling",
            "Overlapping pools (3/2) against 2/2, maximum against average?",
            (
                Variant("max 3-2"),
                Variant("max 2-2", _fields(pool_size=2)),
                Variant("average 3-2", _fields(pool="average")),
                Variant("average 2-2", _fields(pool="average", pool_size=2)),
            ),
            "Everything but the pools; at this image size both give maps of equal sizes, so all have the same parameters.",
            (_ERROR, _LOSS),
            "The paper: 3/2 takes 0.4 and 0.3 points off top-1 and top-5 error. Scherer, Müller and Behnke (ICANN 2010) "
            "found maximum better than average and no gain from overlap.",
            _SMALL,
            looks=("maps",),
        ),
        Study(
            "dropout",
            "Does dropout prevent overfitting, and does it double the iterations?",
            (Variant("none"), Variant("half", _fields(dropout=0.5))),
            "Everything but dropout of fc6 and fc7; a constant rate.",
            (_ERROR, _GAP, _TO_10),
            "The paper: without dropout the network overfits, with it about twice the iterations are needed. Srivastava et "
            "al. (JMLR 2014) confirm both.",
            "Training error and loss are those of the steps, which dropout makes worse than those of the whole network, so "
            "that its gap may even be negative. " + _SMALL,
            {"epochs": 8, "schedule": "constant", **_fields(dropout=0.0)},
        ),
        Study(
            "towers",
            "Two towers or one?",
            (
                Variant("two"),
                Variant("one, equal width", _fields(groups=1)),
                Variant("one, equal parameters", _fields(groups=1, conv_widths=[26, 52, 76, 76, 52])),
            ),
            "Everything but the groups of conv2, conv4 and conv5, and the widths of the third variant, which has as many "
            "parameters as two towers to 1 %.",
            (_ERROR, _LOSS),
            "The paper: two towers take 1.7 and 1.2 points off the errors of a net with half as many kernels. Xie et al. "
            "(CVPR 2017) gain from more groups at equal cost.",
            "Two towers that never meet: the configuration cannot say that, conv3 and the fully connected layers always read "
            "both. " + _SMALL,
            looks=("filters",),
        ),
        Study(
            "augmentation",
            "What do crops, mirror images and colour noise bring, each alone and together?",
            (
                Variant("none", _fields(resize=67, **_PLAIN)),
                Variant("crops", _fields(**_PLAIN)),
                Variant("mirror", _fields(resize=67, mirror=True, colour_noise=0.0)),
                Variant("colour", _fields(resize=67, mirror=False, colour_noise=0.1)),
                Variant("all", _fields(mirror=True, colour_noise=0.1)),
            ),
            "Everything but what happens to the images. Validation sees the centre, with crops, or else all of the image.",
            (_ERROR, _GAP),
            "The paper: without crops and mirrors the network overfits substantially; colour noise takes more than 1 point off "
            "top-1 error.",
            "Whether classes survive a mirror is a matter of the source: digits do not. On grey images colour noise varies "
            "brightness alone. " + _SMALL,
            looks=("views",),
        ),
        Study(
            "init",
            "Why do the published initial weights stand still on little data?",
            (Variant("he", {"init": "he"}), Variant("paper", {"init": "paper"})),
            "Network, rate, data. What `paper` takes with it: biases of 1, and pixels of 0 to 255 less their mean instead of "
            "unit variance.",
            (_TO_25, _LOSS),
            "The paper has N(0, 0.01) and biases of 1. Users of Caffe met the same (BVLC/caffe issues 399 and 401). He et al. "
            "(ICCV 2015) derive the variance that keeps the scale of activations from layer to layer.",
            "That they never learn: on ImageNet, in far more steps, they did. " + _SMALL,
            looks=("start",),
        ),
        Study(
            "sparsity",
            "How many activations are zero, layer by layer?",
            (Variant("relu"), Variant("tanh", _fields(activation="tanh"))),
            "Everything but the unit.",
            (_ERROR,),
            "The paper gives no figure. Glorot, Bordes and Bengio (AISTATS 2011) hold true zeros to be a virtue of ReLU.",
            "Activations on held-out images, before and after training, not on the way. " + _SMALL,
            looks=("zeros",),
        ),
        Study(
            "distance",
            "Are images that are near in fc6 and fc7 of one class, more often than those near in pixels?",
            (Variant("network"),),
            "Images and neighbours: the training images nearest to each held-out one.",
            (_ERROR,),
            "The paper's Figure 4, right: Euclidean neighbours in fc7 share the object, not the pixels. Babenko et al. (ECCV "
            "2014) retrieve images by such codes.",
            _SMALL,
            looks=("neighbours",),
        ),
    )
}
