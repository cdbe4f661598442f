"""The REST contracts of two older systems."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
