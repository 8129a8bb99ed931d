"""An audit of a model in files: data, what finds it, and a page and tables that show it."""

from graph_masker.audit.auditing import report_model
from graph_masker.audit.data import Finding, Layer, Report

__all__ = ["Finding", "Layer", "Report", "report_model"]
