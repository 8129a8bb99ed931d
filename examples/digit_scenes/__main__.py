"""Runs the demo: python -m examples.digit_scenes."""

from examples.digit_scenes.demo import main

main(prog_name="python -m examples.digit_scenes")
