"""One finding per line, each with what it takes to read the line alone: schema, tool, model, tracer, weights, store."""

from __future__ import annotations

import json

from spoofcheck.render.json import escape_unsafe
from spoofcheck.schema import Finding, ScanDocument


def render(document: ScanDocument) -> str:
    """One JSON object per finding, in the document's order; empty for a document without findings."""
    return "".join(render_line(document, finding) + "\n" for finding in document.findings)


def render_line(document: ScanDocument, finding: Finding) -> str:
    """One finding as a line without its newline."""
    origin: dict[str, str] = {
        "schema_version": document.schema_version,
        "tool_version": document.tool.version,
        "model": document.model.name,
        "model_version": document.model.version,
        "weights_sha256": document.model.weights_sha256,
    }
    if document.tracer is not None:
        origin |= {
            "tracer": document.tracer.name,
            "tracer_version": document.tracer.version,
            "tracer_weights_sha256": document.tracer.weights_sha256,
        }
    if document.enrolled is not None:
        origin["sources_sha256"] = document.enrolled.sha256
    # Joined as text: pydantic writes a finding's thousands of windows far faster than the json module would.
    head = json.dumps(origin, ensure_ascii=False, separators=(",", ":"))
    return escape_unsafe(f"{head[:-1]},{finding.model_dump_json()[1:]}")
