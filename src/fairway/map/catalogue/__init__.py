"""What Fairway knows of the field: data with sources and dates, in the TOML files of this folder.

    catalogue = load_catalogue()
    catalogue.tools["vllm"].reads            # ("safetensors", ...)
    catalogue.device("RTX 4090").memory_gb   # by id, name or alias

Files of the user add entries or replace single keys of those that are here: *.toml in
`~/.config/fairway/catalogue/`, then those of the setting `catalogue.files` and of `--catalogue`. Every
file may hold any kind of table: [tools.ID], [hardware.ID], [prices.ID], ... (`schema.py` lists them).
"""

from fairway.map.catalogue.catalogue import Catalogue, load_catalogue

__all__ = ["Catalogue", "load_catalogue"]
