"""The network: its plan, its towers and the passes through them."""
