"""The group of all subcommands, and what they share. Exit codes are made here."""

import os
import sys
from typing import Callable, Optional

import click

import graph_masker
from graph_masker.errors import DestinationError, GraphMaskerError, UsageError
from graph_masker.text import visible


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(graph_masker.__version__, prog_name="graph-masker")
def commands() -> None:
    """Prunes unmodified TensorFlow 1.x graph models.

    Exit code 0: done. 2: the input cannot be used, for the reason given. 1: a bug of graph-masker.
    """


def main() -> None:
    """Runs the command line; errors in the input become one line on standard error and exit code 2."""
    try:
        program = _command()
        # A program to run is run here: inside, its exceptions would be taken for click's own.
        if program is not None:
            program()
    except GraphMaskerError as error:
        # Paths and names from files may hold anything: ends of lines, escape sequences.
        click.echo(f"graph-masker: {visible(str(error))}", err=True)
        sys.exit(2)


def _command() -> Optional[Callable[[], None]]:
    """Runs the command that is asked for; returns what `run` leaves to be called."""
    try:
        result = commands.main(prog_name="graph-masker", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        raise UsageError(_line(error)) from error
    except OSError as error:
        # Commands name the files that they cannot read or write; what is left is their own output.
        if error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise DestinationError(f"standard output: cannot be written: {error.strerror}") from error
    if isinstance(result, int):
        sys.exit(result)
    return result if callable(result) else None


def _line(error: click.ClickException) -> str:
    """Returns what click says in several lines as one, in the form that all other errors have."""
    found = " ".join(error.format_message().split()).rstrip(".")
    found = found[:1].lower() + found[1:]
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        # Where an option lacks its value, click does not say of which command.
        asked = next((f"graph-masker {item}" for item in sys.argv[1:] if item in commands.commands), "graph-masker")
        return f"{found}; see `{asked} --help`"
    usage = " ".join([context.command_path, *context.command.collect_usage_pieces(context)])
    return f"{found}; expected `{usage}`; see `{context.command_path} --help`"


def quiet_tensorflow() -> None:
    """Keeps what native libraries, numpy and TensorFlow write about themselves away from a command's own output.

    Protocol buffers, for one, report what they cannot parse past Python; the command says the same in one line.
    """
    import warnings

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if sys.stderr.fileno() == 2:
        sys.stderr.flush()
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)
        os.close(silence)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow.compat.v1 as tf
    tf.logging.set_verbosity(tf.logging.FATAL)
