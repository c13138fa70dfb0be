"""Makes models smaller: which type every tensor gets, and the step from one GGUF file to another."""
