"""Does the detector tell leaks, and nothing else? See `bench/README.md`."""
