"""A disk that loses a bit."""

from typing import Any

from graph_masker.files import writing


def lose_a_bit(monkeypatch: Any, ending: str) -> None:
    """Flips the first bit of every file with this ending once it has been flushed."""
    original = writing.sync

    def lossy(path: str) -> None:
        original(path)
        if path.endswith(ending):
            with open(path, "r+b") as stream:
                first = stream.read(1)[0]
                stream.seek(0)
                stream.write(bytes([first ^ 1]))

    monkeypatch.setattr(writing, "sync", lossy)
