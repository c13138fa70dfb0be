"""Opens every hostile case in one process of its own and reports as JSON what each did.

Run by test_hostile.py: `python run_hostile.py SEED FOLDER`, and by itself with one path. A crash or
a hang of this process is a failed test there; time and memory are taken per case.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from hostile import Case, all_cases

from fairway.cli.inspect import Report
from fairway.errors import FairwayError, UnsupportedError
from fairway.formats.open import obstacle, open_bundle
from fairway.formats.summary import summarize

LARGE = 256 << 10


def attempt(path: Path) -> tuple[str, str]:
    """("opened", digest of all tensors) or ("error", sentence) or ("crash", what escaped)."""
    try:
        bundle = open_bundle(path, complete=False)
        json.dumps(
            Report(bundle, summarize(bundle), None, str(obstacle(bundle))).as_dict(False), allow_nan=False
        )
        digest = hashlib.sha256()
        for name in sorted(bundle.tensors.infos)[:200]:
            try:
                weight = bundle.tensors.read(name)
            except UnsupportedError:
                continue
            assert weight.shape == bundle.tensors.infos[name].shape, name
            digest.update(
                name.encode() + str(weight.shape).encode() + np.ascontiguousarray(weight.values).tobytes()
            )
        return "opened", digest.hexdigest()
    except FairwayError as error:
        return "error", str(error)
    except BaseException as error:  # noqa: BLE001  everything else is what this program looks for
        return "crash", f"{type(error).__name__}: {error}"


def timed(path: Path) -> tuple[float, tuple[str, str]]:
    started = time.process_time()
    result = attempt(path)
    return time.process_time() - started, result


def traced(path: Path) -> tuple[int, tuple[float, tuple[str, str]]]:
    """The peak of allocated bytes, beside the rest."""
    tracemalloc.start()
    result = timed(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, result


def apart(path: Path) -> tuple[int, tuple[float, tuple[str, str]]]:
    """As `traced`, in a process of its own: there the peak is real memory, mapped pages included."""
    child = subprocess.run([sys.executable, __file__, str(path)], capture_output=True, text=True, check=True)
    peak, seconds, outcome, detail = json.loads(child.stdout)
    return peak, (seconds, (outcome, detail))


def alone(path: Path) -> None:
    before = high_water_bytes()
    seconds, result = timed(path)
    print(json.dumps([high_water_bytes() - before, seconds, *result]))


def high_water_bytes() -> int:
    """The most memory this process ever held. Linux's ru_maxrss would begin with the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(case: Case, folder: Path) -> dict[str, object]:
    folder.mkdir(exist_ok=True)
    for name, data in case.files.items():
        (folder / name).write_bytes(data)
    if case.prepare:
        case.prepare(folder)
    path = folder / case.entry if case.entry else folder
    large = sum(map(len, case.files.values())) > LARGE
    peak, (seconds, (outcome, detail)) = apart(path) if large else traced(path)
    for entry in folder.iterdir():
        entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return {
        "name": case.name,
        "expect": case.expect,
        "outcome": outcome,
        "detail": detail,
        "seconds": seconds,
        "peak": peak,
    }


def main() -> None:
    if len(sys.argv) == 2:
        alone(Path(sys.argv[1]))
        return
    seed, folder = int(sys.argv[1]), Path(sys.argv[2])
    for case in all_cases(seed):
        print(json.dumps(measure(case, folder / "case")))


if __name__ == "__main__":
    main()
