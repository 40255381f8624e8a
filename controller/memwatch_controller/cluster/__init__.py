"""What the controller knows of the Kubernetes cluster that it works in."""
