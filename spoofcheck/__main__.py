"""`python -m spoofcheck`."""

from spoofcheck.cli import main

main()
