"""Tests; the layout mirrors `spoofcheck/`."""

import os

# Set before torch is imported: its threads wait for each other for longer than tests' tiny tensors take.
os.environ.setdefault("OMP_NUM_THREADS", "1")
