"""Where an operation runs: ``cpu`` (NumPy), ``cuda`` (CuPy arrays into the extension)."""
