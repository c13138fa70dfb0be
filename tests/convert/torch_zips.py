"""A checkpoint as torch.save writes it, made without PyTorch."""

import pickle
import zipfile


def torch_zip(path, tensors):
    """A .bin as torch.save writes it, made by hand: a pickle of names and one entry for each storage."""
    opcodes = [pickle.PROTO + b"\x02", pickle.EMPTY_DICT, pickle.MARK]
    for number, (name, values) in enumerate(tensors.items()):
        text = name.encode()
        opcodes += [b"X" + len(text).to_bytes(4, "little") + text]
        opcodes += [b"ctorch._utils\n_rebuild_tensor_v2\n", pickle.MARK, pickle.MARK]
        opcodes += [b"X\x07\x00\x00\x00storage", b"ctorch\nFloatStorage\n"]
        opcodes += [b"X\x01\x00\x00\x00" + str(number).encode() if number < 10 else _text(str(number))]
        opcodes += [b"X\x03\x00\x00\x00cpu", b"J" + values.size.to_bytes(4, "little"), pickle.TUPLE, b"Q"]
        sizes = (b"J" + n.to_bytes(4, "little") for n in values.shape)
        opcodes += [b"K\x00", pickle.MARK, *sizes, pickle.TUPLE]
        steps = [step // 4 for step in values.strides]
        opcodes += [pickle.MARK, *(b"J" + n.to_bytes(4, "little") for n in steps), pickle.TUPLE]
        opcodes += [pickle.NEWFALSE, pickle.EMPTY_DICT, pickle.TUPLE, pickle.REDUCE]
    raw = b"".join(opcodes) + pickle.SETITEMS + pickle.STOP
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", raw)
        for number, values in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{number}", values.tobytes())


def _text(text):
    return b"X" + len(text).to_bytes(4, "little") + text.encode()
