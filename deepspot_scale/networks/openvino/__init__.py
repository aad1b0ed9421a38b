"""The network as OpenVINO runs it on CPUs."""
