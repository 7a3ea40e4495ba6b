"""Images decoded by a process that has little memory and little time: what takes either makes it fail."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from vqa_pipeline.sources.images import ImageError, inspect_image


def inspect_folder(folder: Path, megabytes: int, seconds: int) -> dict[str, dict[str, Any]]:
    """What `inspect_image` says of each file of a folder, by name: its facts, or rule and reason.

    Args:
        folder: Holds images and nothing else.
        megabytes: What the process may take beside what it has before the first image.
        seconds: Of a processor's time; of time in all ten times as much, as other processes may be busy.

    Raises:
        subprocess.CalledProcessError: it took more memory or processor time, or crashed.
        subprocess.TimeoutExpired: it took more time.
    """
    command = [sys.executable, __file__, str(folder), str(megabytes), str(seconds)]
    # numpy's threads would reserve memory of their own; a decoder's threads count as what they are
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, timeout=10 * seconds, check=True, stdout=subprocess.PIPE, env=environment)
    return json.loads(done.stdout)


def _inspect(data: bytes) -> dict[str, Any]:
    try:
        return inspect_image(data)._asdict()
    except ImageError as error:
        return {"rule": error.rule, "reason": error.reason}


def _limit(megabytes: int, seconds: int) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (megabytes << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


if __name__ == "__main__":
    from PIL import Image

    Image.init()
    files = {path.name: path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())}
    _limit(int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({name: _inspect(data) for name, data in files.items()}, default=bytes.hex))
