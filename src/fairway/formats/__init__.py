"""Containers: safetensors, GGUF and Hugging Face folders, read header first and never executed."""
