"""Demo: an unmodified Object Detection API model, trained, pruned, folded and exported on digit scenes."""
