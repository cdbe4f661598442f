"""The `spoofcheck` command: one file per subcommand. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from spoofcheck.cli.status import ExitStatus


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with an `ExitStatus`."""
    raise SystemExit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code.

    Typer's own handling is bypassed: it would end a crash with 1, which here means "spoof found".
    """
    from typer import Abort, TyperException

    from spoofcheck.cli.app import app
    from spoofcheck.errors import SpoofcheckError

    try:
        status = app(args=list(argv), prog_name="spoofcheck", standalone_mode=False)
    except TyperException as error:
        return _fail(f"{error.format_message()} (see 'spoofcheck --help')")
    except SpoofcheckError as error:
        return _fail(str(error), argv)
    except SystemExit as stop:  # how Typer's completion commands end
        status = stop.code
    except (KeyboardInterrupt, Abort):
        return _fail("interrupted", status=ExitStatus.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output left; the rest has nowhere to go. Keep Python from complaining at exit.
        sys.stdout = None
        return ExitStatus.FAILED
    except Exception as error:
        return _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", argv)
    return status if isinstance(status, int) else ExitStatus.CLEAR


def _fail(message: str, argv: Sequence[str] = (), status: ExitStatus = ExitStatus.FAILED) -> ExitStatus:
    from spoofcheck.render.text import printable

    if "--debug" in argv:
        traceback.print_exc()
    print(f"spoofcheck: {printable(message)}", file=sys.stderr)
    return status
