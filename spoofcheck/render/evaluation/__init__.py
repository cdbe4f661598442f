"""Evaluation documents for people: the terminal and the self-contained HTML report."""
