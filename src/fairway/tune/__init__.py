"""Fine-tuning: examples from a file become token ids and a mask of what is learned."""
