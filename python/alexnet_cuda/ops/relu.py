"""ReLU: ``max(x, 0)``; paper section 3.1."""

from __future__ import annotations

from ._activation import Activation

fprop, bprop = Activation("relu").fprop, Activation("relu").bprop
