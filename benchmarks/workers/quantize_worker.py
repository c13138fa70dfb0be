"""One quantisation in a process of its own, measured from outside: SOURCE TARGET MIX."""

import sys
from pathlib import Path

from fairway.quantize.quantize_gguf import quantize_gguf

if __name__ == "__main__":
    quantize_gguf(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
