"""Routes through the map: from a checkpoint's format to an endpoint that answers, or to a tuned adapter.

    answer = find_routes(bundle, question, devices, catalogue)

Facts come from the catalogue (formats, tools, lanes, devices, prices), `engines.toml` (how near engines come
to limits) and the probe; nothing here measures or runs anything, except `race`.
"""
