"""Messages of the Open Inference Protocol over gRPC; their module is generated from the definition."""
