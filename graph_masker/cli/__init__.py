"""The command line: one thin module per subcommand. TensorFlow is imported only by those that need it."""

from graph_masker.cli.app import commands, main
from graph_masker.cli.fold import fold
from graph_masker.cli.inspect import inspect
from graph_masker.cli.plot import plot
from graph_masker.cli.prune import prune
from graph_masker.cli.report import report
from graph_masker.cli.rewrite import rewrite
from graph_masker.cli.run import run
from graph_masker.cli.strip import strip
from graph_masker.cli.verify import verify

__all__ = ["commands", "main"]

for _command in (inspect, report, verify, rewrite, fold, strip, prune, run, plot):
    commands.add_command(_command)
