"""The ``alexnet-cuda`` command."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Sequence

import click

from .. import __version__
from .card import card
from .convert import convert
from .evaluate import evaluate
from .features import features
from .info import doctor_command, summary_command
from .options import complain
from .predict import predict
from .prepare import prepare
from .show import show
from .study import study
from .train import train

_INTERRUPTED = 130
# Errors that say in a sentence what the user can mend; anything else is a fault of the program and shows its traceback.
_EXPECTED = (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, invoke_without_command=True
)
@click.version_option(__version__, prog_name="alexnet-cuda")
@click.pass_context
def command(context: click.Context) -> None:
    """AlexNet from hand-written CUDA kernels: train it, test it, use it."""
    context.ensure_object(dict)["command"] = context.invoked_subcommand
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _subcommand in (
    prepare,
    train,
    evaluate,
    predict,
    features,
    show,
    convert,
    card,
    study,
    summary_command,
    doctor_command,
):
    command.add_command(_subcommand)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code.

    Parameters
    ----------
    arguments
        Without the program's name; those of the process when None.

    Returns
    -------
    int
        0 when all went well; 2 after an error, which is one line on standard error (set ALEXNET_CUDA_TRACEBACK=1 for
        its traceback); 1 when part of the work failed; 128 and the signal's number after a signal, 75 after SIGUSR1.
    """
    noted: dict[str, str] = {}
    try:
        _open_standard_files()
        with warnings.catch_warnings():
            # NumPy's, on the way to outputs that are not finite, which are an error of their own.
            warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning)
            result = command.main(
                args=None if arguments is None else list(arguments),
                prog_name="alexnet-cuda",
                standalone_mode=False,
                obj=noted,
            )
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return _INTERRUPTED
    except click.ClickException as error:
        return _fail(error.format_message())
    except _EXPECTED as error:
        if os.environ.get("ALEXNET_CUDA_TRACEBACK") == "1":
            raise
        return _fail(_sentence(error, noted.get("command")))
    finally:
        _drop_unwritten()
    return result if isinstance(result, int) else 0


def _open_standard_files() -> None:
    """Have all three, so that no checkpoint is opened as number 1, and so that writing into a closed one fails."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number, this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show comes as an escape.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _drop_unwritten() -> None:
    """Send elsewhere what a standard file did not take, which Python would try again, and fail at, when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except AttributeError:  # no file, and nothing kept back
            continue
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fail(sentence: str) -> int:
    complain(f"error: {' '.join(sentence.split())}")
    return 2


def _sentence(error: BaseException, name: str | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, MemoryError):
        options = {option.name for option in command.commands[name].params} if name else set()
        advice = {"batch_size": "a smaller --batch-size", "devices": "other --devices"}
        tries = " or ".join(text for option, text in advice.items() if option in options)
        return f"out of memory ({str(error) or 'no details'})" + (f": try {tries}" if tries else "")
    return str(error) or type(error).__name__
