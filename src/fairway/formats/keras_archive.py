"""What an archive of Keras is told by: the names of its entries."""

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def is_keras(names: list[str]) -> bool:
    return CONFIG in names and WEIGHTS in names
