"""Who calls: the name of the API key, or `local` on a loopback server without keys."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request came from."""

    name: str


async def caller(request: Request) -> Caller:  # noqa: ARG001
    """Who sent the request; a dependency of every handler that is not open to all."""
    return Caller("local")
