"""What can go wrong with a heap: one small hierarchy, facts as attributes."""


class HeapError(Exception):
    """Base of everything that this package raises on purpose."""


class SnapshotError(HeapError):
    """A heap snapshot cannot be read, or is not what it says it is.

    Attributes:
        name: what the caller called the snapshot (a file's name, a stream's label).
        problem: what is wrong and where, without the name.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot read heap snapshot {self.name}: {self.problem}"


class IndexFileError(HeapError):
    """An index file is missing, of another version, damaged, or of another snapshot.

    It is never fatal: an index can always be built again from its snapshot.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot use heap index {self.path}: {self.problem}; build it again"


class UnknownNodeError(HeapError):
    """A node id that the heap does not have."""

    def __init__(self, name: str, node_id: int) -> None:
        super().__init__(name, node_id)
        self.name = name
        self.node_id = node_id

    def __str__(self) -> str:
        return f"cannot find node {self.node_id} in heap snapshot {self.name}: no such id"
