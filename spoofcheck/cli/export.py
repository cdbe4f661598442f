"""`spoofcheck models export`: a model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spoofcheck.cli.output import STDOUT, check_outputs, check_spared, write_bytes
from spoofcheck.errors import UsageError


def export(
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE.onnx", help="The file to write.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|DIR]", help="Model to export; the shipped default when left out."),
    ] = None,
) -> None:
    """Write a model as an ONNX file (float32), compared with torch first; needs the extra onnx.

    It takes rows of samples at 16 kHz and gives logits, and distances or embeddings where the model has them. The file
    names the model and the SHA-256 of its weights. Example: spoofcheck models export --onnx compact.onnx
    """
    if onnx == STDOUT:
        raise UsageError("--onnx -: name a file; a graph is not text")
    check_outputs([onnx])

    from spoofcheck.detect.onnxexport import export_model
    from spoofcheck.nets.bundle import load_bundle, load_tracer
    from spoofcheck.nets.config import TracerConfig, read_any_config
    from spoofcheck.nets.index import find_model
    from spoofcheck.nets.onnx import MAX_DIFFERENCE, check_extra

    check_extra("models export")
    directory = find_model(model)
    check_spared([onnx], directory.iterdir())
    is_tracer = isinstance(read_any_config(directory), TracerConfig)
    bundle = load_tracer(directory) if is_tracer else load_bundle(directory)
    exported = export_model(bundle)
    write_bytes(onnx, exported.graph)
    differences = ", ".join(f"{name} {value:.1e}" for name, value in exported.differences.items())
    typer.echo(
        f"{onnx}: {bundle.config.name} {bundle.config.version}, {len(exported.graph) / 1e6:.1f} MB; largest difference "
        f"to torch on {exported.windows} windows: {differences} (at most {MAX_DIFFERENCE:g} allowed)"
    )
