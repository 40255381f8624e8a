"""Which images the command line starts where it starts containers."""

from memwatch_proto import __version__

#: Built by `make images`; published under the same name.
AGENT = f"memwatch/agent:{__version__}"
