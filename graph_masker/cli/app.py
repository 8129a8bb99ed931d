"""The group of all subcommands, and what they share. Exit codes are made here."""

import os
import sys
from typing import Any

import click

import graph_masker
from graph_masker.errors import GraphMaskerError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(graph_masker.__version__, prog_name="graph-masker")
def commands() -> None:
    """Prunes unmodified TensorFlow 1.x graph models.

    Exit code 0: done. 2: the input cannot be used, for the reason given. 1: a bug of graph-masker.
    """


def main() -> None:
    """Runs the command line; errors in the input become one line on standard error and exit code 2."""
    result: Any = None
    try:
        result = commands.main(prog_name="graph-masker", standalone_mode=False)
        # A program to run is run here: inside, click would take its exceptions for its own.
        if callable(result):
            result()
        elif isinstance(result, int):
            sys.exit(result)
    except GraphMaskerError as error:
        # A path may hold the end of a line.
        click.echo("graph-masker: " + str(error).replace("\n", "\\n"), err=True)
        sys.exit(2)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        if callable(result):
            raise
        error.show()
        sys.exit(error.exit_code)


def quiet_tensorflow() -> None:
    """Keeps TensorFlow's warnings about numpy and itself away from a command's own output."""
    import warnings

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow.compat.v1 as tf
    tf.logging.set_verbosity(tf.logging.FATAL)
