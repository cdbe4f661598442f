"""The one way a page is made from the templates in `reports/templates/`.

Every string a template prints passes `printable` and is then escaped, whether or not the template thinks of it; a value
that is missing stops the page instead of leaving a gap in it.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from spoofcheck.render.text import count, format_percent, printable
from spoofcheck.resources import templates_dir

_HASH_GROUP = 8


def environment() -> Environment:
    """A fresh environment with the filters that every page needs: `count`, `date`, `hash` and `percent`."""
    made = Environment(
        loader=FileSystemLoader(templates_dir()),
        autoescape=True,  # select_autoescape() would leave *.html.j2 unescaped
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"count": count, "date": format_date, "hash": format_hash, "percent": format_percent}
    return made


def _visible(value: Any) -> Any:
    if value is None:
        raise TypeError("a report template printed a missing value")
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def policy_hash(text: str) -> str:
    """The hash by which a Content-Security-Policy allows what stands between the tags of a style or a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def format_date(text: str) -> str:
    """An ISO 8601 time as `2026-11-21 09:14:03 UTC`; anything else as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text or "not recorded"
    if moment.tzinfo is None:
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_hash(digest: str | None) -> Markup:
    """A digest that may be broken over lines every few digits, and is copied without the breaks."""
    text = printable(digest or "not recorded")
    groups = (text[i : i + _HASH_GROUP] for i in range(0, len(text), _HASH_GROUP))
    return Markup("<code class=hash>") + Markup("<wbr>").join(groups) + Markup("</code>")
