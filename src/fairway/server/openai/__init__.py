"""OpenAI's dialect: chat and text completions, models, and vLLM's tokenize and detokenize."""
