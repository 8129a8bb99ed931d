"""The guarantees of models that lie in files, and what two files have in common."""

from graph_masker.verification.files import verify_model

__all__ = ["verify_model"]
