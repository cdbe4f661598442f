"""Mutated recordings and documents of every kind, sent through everything that reads them: see `docs/fuzzing.md`."""
