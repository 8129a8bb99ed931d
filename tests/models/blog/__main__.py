"""Trains both and writes the page: python -m tests.models.blog --docs docs/blog.md."""

import os
import sys
import tempfile
from pathlib import Path

import click


@click.command()
@click.option("--docs", type=click.Path(dir_okay=False), required=True, help="Page to write.")
def main(docs: str) -> None:
    """Compares Mask R-CNN Inception V2 masked by hand and by auto_mask, and writes the page of it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow.compat.v1 as tf

    tf.logging.set_verbosity(tf.logging.ERROR)
    from tests.models.blog import measuring, page

    with tempfile.TemporaryDirectory() as folder:
        measured = measuring.measure(Path(folder), lambda text: click.echo(text, file=sys.stderr))
    Path(docs).write_text(page.render(measured), encoding="utf-8")


main(prog_name="python -m tests.models.blog")
