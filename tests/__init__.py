"""Tests; the layout mirrors `spoofcheck/`."""

import os

# Set before torch is imported: its threads wait for each other longer than the tiny tensors of the tests take.
os.environ.setdefault("OMP_NUM_THREADS", "1")
