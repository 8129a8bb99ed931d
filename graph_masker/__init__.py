"""graph_masker makes unmodified TensorFlow 1.x graph models prunable. TensorFlow is imported when first needed."""

import importlib
from typing import Any, List

__version__ = "0.1.0"

_HOMES = {
    "PruningSpec": "spec",
    "Rule": "spec",
    "Element": "spec",
    "Block": "spec",
    "NM": "spec",
    "Channel": "spec",
    "auto_mask": "estimator",
    "auto_mask_estimator": "estimator",
    "masking": "session",
    "plan_graph": "masker",
    "mask_graph": "built",
    "Masker": "masker",
    "verify_masked": "verify",
    "inspect_model": "inspection",
    "verify_model": "verification",
    "report_model": "audit",
    "Report": "audit",
    "fold_checkpoint": "folding",
    "strip_model": "stripping",
    "prune_model": "pruning",
    "rewrite_checkpoint": "rewriting",
    "MaskPlan": "plan",
    "Site": "plan",
    "Skip": "plan",
    "GraphMaskerError": "errors",
    "SpecError": "errors",
    "PlanError": "errors",
    "SurgeryError": "errors",
    "VerificationError": "errors",
    "SourceError": "errors",
    "DestinationError": "errors",
    "UsageError": "errors",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'graph_masker' has no attribute '{name}'")
    return getattr(importlib.import_module(f"graph_masker.{_HOMES[name]}"), name)


def __dir__() -> List[str]:
    return list(__all__)
