"""Model directories published on a Hugging Face hub or a mirror of it: `hub:OWNER/NAME[@REVISION]`.

Only asked for by name; nothing else in spoofcheck reaches the network. `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_HOME` and
the rest of huggingface_hub's environment variables hold. What arrives is checked like any model directory.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from spoofcheck.errors import ModelError

PREFIX = "hub:"
_REFERENCE = re.compile(r"hub:(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")


def fetch_model(reference: str, files: tuple[str, ...]) -> Path:
    """Bring a model directory to this machine, or find it in the cache.

    Args:
        reference: `hub:OWNER/NAME`, with `@` and a branch, tag or commit; a commit pins what is run.
        files: the names of the model's files.

    Raises:
        ModelError: the reference is malformed, or the hub or one of the files can't be reached.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ModelError(f"{reference!r}: a model on the hub is written hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import logging

    # Its retries are reported on standard error otherwise; the one line below says what matters.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    places: list[Path] = []
    for name in files:
        try:
            place = hf_hub_download(
                match["repository"],
                name,
                revision=match["revision"],
                endpoint=os.environ.get("HF_ENDPOINT"),
                library_name="spoofcheck",
            )
        except LocalEntryNotFoundError as error:
            raise ModelError(
                f"{reference}: {name} is not in the cache and the hub can't be reached; check the network, "
                "HF_ENDPOINT and HF_HUB_OFFLINE, or give a model directory"
            ) from error
        except EntryNotFoundError as error:
            raise ModelError(f"{reference}: holds no {name}; it is not a spoofcheck model") from error
        except (HfHubHTTPError, HFValidationError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise ModelError(f"{reference}: the hub refused {name} ({first_line})") from error
        places.append(Path(place))
    return places[0].parent
