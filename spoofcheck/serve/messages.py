"""What the server and its model processes tell each other, one JSON text a message.

Never pickles: a model process reads hostile recordings, and what it says is checked like any other input.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from spoofcheck.nets.config import CosineCalibration
from spoofcheck.schema import Finding, ScanDocument
from spoofcheck.serve.models import JobOptions, Value


class Setup(Value):
    """To a model process: what to load. The first message.

    Attributes:
        models: as `nets.index.find_model` takes them, directories by their absolute path; the first is the default.
    """

    kind: Literal["setup"] = "setup"
    models: tuple[str | None, ...] = Field(min_length=1)
    device: str
    threshold_llr: float | None
    controls: bool
    max_duration_s: float


class Item(Value):
    """One recording to examine; `key` is the server's number for it."""

    key: int
    path: str


class Examine(Value):
    """To a model process: examine these in one pass."""

    kind: Literal["examine"] = "examine"
    options: JobOptions
    items: tuple[Item, ...]


class Cancel(Value):
    """To a model process: this one is not wanted any more."""

    kind: Literal["cancel"] = "cancel"
    key: int


class LoadedModel(Value):
    """What a model process has loaded.

    Attributes:
        document: of this model, without findings.
        link_calibration: of its tracer, for groups of unknown exhibits.
    """

    document: ScanDocument
    link_calibration: CosineCalibration | None

    @property
    def name(self) -> str:
        """By which requests choose it."""
        return self.document.model.name


class Ready(Value):
    """From a model process: the models are loaded, the default one first."""

    kind: Literal["ready"] = "ready"
    models: tuple[LoadedModel, ...] = Field(min_length=1)


class Refused(Value):
    """From a model process: the model cannot be used."""

    kind: Literal["refused"] = "refused"
    message: str


class Heard(Value):
    """From a model process: how far a recording has come, 0 to 1."""

    kind: Literal["heard"] = "heard"
    key: int
    share: float
    duration_s: float | None


class Examined(Value):
    """From a model process: a recording is done."""

    kind: Literal["examined"] = "examined"
    key: int
    findings: tuple[Finding, ...]


class PassOver(Value):
    """From a model process: the pass ended; items without `Examined` were not done."""

    kind: Literal["over"] = "over"


ToProcess = Annotated[Setup | Examine | Cancel, Field(discriminator="kind")]
FromProcess = Annotated[Ready | Refused | Heard | Examined | PassOver, Field(discriminator="kind")]

# What a process says wrongly is logged, and not quoted.
_QUIET = ConfigDict(hide_input_in_errors=True)
_TO_PROCESS: TypeAdapter[ToProcess] = TypeAdapter(ToProcess, config=_QUIET)
_FROM_PROCESS: TypeAdapter[FromProcess] = TypeAdapter(FromProcess, config=_QUIET)


def send(connection: Connection, message: Value) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone.
    """
    connection.send_bytes(message.model_dump_json().encode())


def receive_in_process(connection: Connection) -> ToProcess:
    """The next message to a model process.

    Raises:
        EOFError, OSError: the server is gone.
    """
    return _TO_PROCESS.validate_json(connection.recv_bytes())


def receive_in_server(connection: Connection) -> FromProcess:
    """The next message from a model process.

    Raises:
        EOFError, OSError: the process is gone.
        ValueError: it says what it must not.
    """
    return _FROM_PROCESS.validate_json(connection.recv_bytes())
