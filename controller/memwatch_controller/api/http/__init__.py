"""The same use cases as gRPC's, as JSON over HTTP."""
