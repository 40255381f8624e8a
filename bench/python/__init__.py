"""The Python snapshot beside its peers."""
