"""How far a long computation is: what it does now, and its share of the whole."""

from collections.abc import Callable

# Called with what is being done and the share of the whole that is behind it, 0 to 1.
Tell = Callable[[str, float], None]


class Course:
    """The way through a computation whose parts have weights; tells about it, if anybody asks."""

    def __init__(self, tell: Tell | None, whole: float) -> None:
        self._tell = tell
        self._whole = whole
        self._begun = 0.0
        self._part = ("", 0.0)

    def begin(self, doing: str, weight: float) -> None:
        """Begins the next part; the one before is over."""
        self._begun += self._part[1]
        self._part = (doing, weight)
        self.at(0, 1)

    def at(self, done: int, total: int | None) -> None:
        """How far the part is that was begun last, such as bytes of a file."""
        if self._tell is not None:
            doing, weight = self._part
            inside = min(done / total, 1.0) if total else 0.0
            self._tell(doing, min((self._begun + weight * inside) / self._whole, 1.0))
