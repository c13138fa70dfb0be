"""Where models come from: names to files, and the hub's downloads."""
