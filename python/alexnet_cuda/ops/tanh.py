"""Hyperbolic tangent."""

from __future__ import annotations

from ._activation import Activation

fprop, bprop = Activation("tanh").fprop, Activation("tanh").bprop
