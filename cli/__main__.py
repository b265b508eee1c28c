"""``python -m prodchain.cli`` is ``prodchain``."""

import sys

from .main import main

sys.exit(main())
