"""`python -m lmlab` is the same as `lmlab`; this is also what torchrun starts."""

import sys

from lmlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
