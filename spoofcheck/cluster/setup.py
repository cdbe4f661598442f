"""What every actor loads, and proof that it is what the scan was asked with."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from spoofcheck import __version__
from spoofcheck.detect.runidentity import reading_libraries, source_sha256
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import ModelError

_Kind = TypeVar("_Kind", bound=Scanner)


@dataclass(frozen=True, slots=True)
class Identity:
    """What shapes findings and could differ between machines."""

    program: str
    libraries: tuple[tuple[str, str | None], ...]
    model: tuple[str, str]
    tracer: tuple[str, str] | None
    sources: str | None
    acoustic_reference: str | None


def identity_of(scanner: Scanner) -> Identity:
    """Of a loaded scanner."""
    tracer = scanner.tracer
    return Identity(
        program=f"{__version__} {source_sha256()}",
        libraries=tuple(sorted(reading_libraries(scanner.options.evidence.is_any).items())),
        model=(scanner.bundle.weights_sha256, scanner.bundle.config_sha256),
        tracer=None if tracer is None else (tracer.bundle.weights_sha256, tracer.bundle.config_sha256),
        sources=None if tracer is None or tracer.enrolled is None else tracer.enrolled.store.sha256,
        acoustic_reference=scanner.acoustic_reference_sha256,
    )


@dataclass(frozen=True, slots=True)
class Setup:
    """How an actor makes its scanner.

    Attributes:
        model: as for `Scanner`.
        options: of the scan, with the device of the actors.
        identity: of the scanner that asks.
    """

    model: str | Path | None
    options: ScanOptions
    identity: Identity

    def scanner(self, kind: type[_Kind]) -> _Kind:
        """A scanner of this kind, on this machine.

        Raises:
            ModelError: this machine has another model, tracer, store of sources or version of the program, or none.
            UsageError: this machine cannot honour the options.
        """
        scanner = kind(self.model, self.options)
        found = identity_of(scanner)
        if found != self.identity:
            names = [name for name in Identity.__slots__ if getattr(found, name) != getattr(self.identity, name)]
            raise ModelError(
                f"{platform.node()}: {' and '.join(names)} of this worker are not those of the machine that asks; "
                "every node needs the same spoofcheck, libraries, model, tracer and store of sources"
            )
        return scanner


def asking_options(options: ScanOptions) -> ScanOptions:
    """The options with which the machine that asks loads its own scanner: it decides nothing and needs no GPU."""
    return replace(options, device="cpu", precision="float32", runtime="torch")


def setup_for(asking: Scanner, model: str | Path | None, options: ScanOptions, device: str) -> Setup:
    """What actors load so that they find what `options` ask for.

    Args:
        asking: a scanner with `asking_options(options)`.
        model: as named by the user.
        options: of the scan.
        device: of the actors.
    """
    enrolled = None if asking.tracer is None else asking.tracer.enrolled
    return Setup(
        model=_absolute(model),
        options=replace(
            options,
            device="cuda" if device == "cuda" else "cpu",
            isolation="processes",
            workers=None,
            tracer=_absolute(options.tracer),
            # A worker's own user may have enrolled others.
            sources=None if enrolled is None else enrolled.path.absolute(),
            use_sources=enrolled is not None,
        ),
        identity=identity_of(asking),
    )


def _absolute(model: str | Path | None) -> str | Path | None:
    """A folder may be named from where the user is, which is not where workers are."""
    return Path(model).absolute() if model is not None and Path(model).is_dir() else model
