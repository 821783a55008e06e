"""How every command ends: exit code 0 ok, 1 failure, 2 usage; errors are sentences, not tracebacks."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from adaptseg_serve.errors import AdaptSegError, ConfigError

Command = Callable[[Sequence[str]], int]
_OURS = ("adaptseg_serve", "adaptseg_training", "adaptseg_export")


def run_command(name: str, command: Command) -> NoReturn:
    """Run `command` on the process's arguments and exit with its code."""
    sys.exit(guarded(name, command, sys.argv[1:]))


def guarded(name: str, command: Command, argv: Sequence[str]) -> int:
    """`command(argv)`, its exit code; errors that a user can mend become one line on stderr."""
    try:
        return command(argv)
    except ConfigError as error:
        return _complain(name, error, 2)
    except ModuleNotFoundError as error:
        return _complain(name, _what_to_install(error), 2)
    except (AdaptSegError, OSError) as error:
        return _complain(name, error, 1)
    except KeyboardInterrupt:
        return _complain(name, "interrupted", 130)


def _what_to_install(error: ModuleNotFoundError) -> str:
    """A sentence. A missing module of our own is a bug, whose traceback is wanted: it is raised again."""
    module = (error.name or str(error)).partition(".")[0]
    if module in _OURS:
        raise error
    how = "make env, or in the checkout pip install -c constraints.txt '.[train]'"
    return f"{module} is not installed; this needs the extra `train`: {how}."


def _complain(name: str, error: object, code: int) -> int:
    print(f"{name}: {error}", file=sys.stderr)
    return code
