"""Speed and memory, outside the tests."""

import os

ENVIRONMENT = dict(os.environ)
"""Of the shell, as it was before anything of the tests was imported, which keeps torch to one thread."""
