"""Where workers come from: this machine, a queue, Kubernetes, a scheduler."""
