"""Whether everything that captures need is in order: `memwatchctl doctor`."""
