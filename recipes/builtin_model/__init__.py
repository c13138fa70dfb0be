"""The built-in language model, from text to a folder that Fairway opens. README.md has the commands."""
