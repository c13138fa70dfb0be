"""Text in and out of a model: tokenizers, chat templates, streaming pieces, stop strings."""
