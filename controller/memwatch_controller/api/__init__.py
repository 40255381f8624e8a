"""The controller's faces: gRPC (one file per noun) and JSON over HTTP."""
