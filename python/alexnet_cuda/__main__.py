"""``python -m alexnet_cuda`` is the ``alexnet-cuda`` command."""

import sys

from .cli import main

sys.exit(main())
