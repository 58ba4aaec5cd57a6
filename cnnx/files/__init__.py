"""Files: arrays in safetensors files, models in them, and images."""
