"""A model process without a model, for tests of the pool: `python -m tests.support.modelstandin FD`.

What it does with a file is in the file: `die` ends the process; `die-once` too, unless a file of the same name with
`.died` beside it says that it did; `hang` says nothing any more; `brief` takes a moment; `slow` takes until a file of
the pass is cancelled; `strange` answers what no model process may. Anything else is examined at once, with that text as
a reason of its finding.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spoofcheck.schema import Finding, Reason, Verdict
from spoofcheck.serve.messages import (
    Cancel,
    Examine,
    Examined,
    Heard,
    Item,
    LoadedModel,
    PassOver,
    Ready,
    Refused,
    Setup,
    receive_in_process,
    send,
)
from tests.support.documents import document

REFUSED = "refuse"
"""A model of this name cannot be used."""


def examined(connection: Connection[Any, Any], item: Item) -> bool:
    """Examine one file; whether the pass goes on."""
    path = Path(item.path)
    text = path.read_text()
    marker = path.with_name(path.name + ".died")
    if text == "die" or (text == "die-once" and not marker.exists()):
        marker.touch()
        os._exit(1)
    if text == "hang":
        time.sleep(600)
    if text == "brief":
        time.sleep(0.5)
    if text == "strange":
        connection.send_bytes(b'{"kind": "setup"}')
    if text == "slow":
        send(connection, Heard(key=item.key, share=0.5, duration_s=10.0))
        assert isinstance(receive_in_process(connection), Cancel)
        return False
    finding = Finding(
        path=str(path),
        channel=None,
        sha256=None,
        duration_s=2.0,
        speech_s=1.0,
        verdict=Verdict.INCONCLUSIVE,
        spoof_llr=0.0,
        raw_score=0.0,
        reasons=(Reason(code="read", message=text), Reason(code="process", message=str(os.getpid()))),
    )
    send(connection, Examined(key=item.key, findings=(finding,)))
    return True


def main() -> None:
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    setup = receive_in_process(connection)
    assert isinstance(setup, Setup)
    if setup.models[0] == REFUSED:
        send(connection, Refused(message="the model is damaged"))
        return
    send(connection, Ready(models=(LoadedModel(document=document(()), link_calibration=None),)))
    try:
        while True:
            message = receive_in_process(connection)
            if isinstance(message, Examine):
                for item in message.items:
                    if not examined(connection, item):
                        break
                send(connection, PassOver())
    except EOFError:
        pass


if __name__ == "__main__":
    main()
