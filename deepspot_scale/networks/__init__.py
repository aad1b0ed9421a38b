"""The only home of Keras and OpenVINO."""
