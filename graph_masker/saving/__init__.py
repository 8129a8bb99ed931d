"""Masks in checkpoints: every saver of a model holds them, and whatever restores or starts a weight brings its mask."""
