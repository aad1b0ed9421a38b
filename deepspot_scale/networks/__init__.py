"""Which networks there are and how they run; only this room uses Keras and OpenVINO."""
