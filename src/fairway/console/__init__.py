"""The pages people look at: a chat with the model, and the API described. No build step, no network."""
