"""The logistic function: ``1 / (1 + exp(-x))``, the other saturating unit."""

from __future__ import annotations

from ._activation import Activation

fprop, bprop = Activation("logistic").fprop, Activation("logistic").bprop
