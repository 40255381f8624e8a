"""Adds the agent to pods that ask for it: from annotations to a JSON patch, without Kubernetes."""
