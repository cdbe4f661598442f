"""`spoofcheck schema`: the JSON Schema of the result document."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of the scan result."""
    from spoofcheck.schema import ScanDocument

    typer.echo(json.dumps(ScanDocument.model_json_schema(), indent=2))
