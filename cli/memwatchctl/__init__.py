"""memwatchctl: the command line of memwatch."""
