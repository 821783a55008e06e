"""The gRPC door: Open Inference Protocol, the project's own service, health and reflection, in one server."""
