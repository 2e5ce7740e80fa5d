"""`python -m carry.exchange.aster`."""

import sys

from .server import main

sys.exit(main(sys.argv[1:]))
