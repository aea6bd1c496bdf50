"""Takes a cube larger than the workers' memory through `c1x1.dask.conv`, beside only reading it.

    python bench/dask_cube.py [--gigabytes 8] [--workers 2] [--megabytes 512] [--rounds 3]
                              [--where DIRECTORY] [--json FILE]

Writes an uncompressed Zarr cube, then, with that many worker processes of one thread and that many
megabytes each:

    read      every chunk is read and dropped
    convolve  every chunk is read and convolved, the result dropped
    store     every chunk is read and convolved, the result written to another Zarr

Rounds are interleaved; the table holds medians, and the most memory that any worker had. What is
on disk may be in the system's cache: then reading costs what Zarr and dask cost. The files, the
cube and a result of an eighth of it, are deleted. Needs dask and distributed, 2025.1 or newer, and
zarr 3. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import facts, table

import c1x1

try:
    import dask
    import dask.array as da
    import distributed
    import zarr

    import c1x1.dask
except ImportError as error:
    missing = str(error)
else:
    missing = ""

#: Rows of one chunk, columns, bands: 4 MiB of float32.
SLAB = (64, 256, 64)
FILTERS = 8


def show(text):
    """One line that the next one overwrites, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def write_cube(path, gigabytes):
    slabs = max(1, round(gigabytes * 1e9 / (4 * np.prod(SLAB))))
    shape = (slabs * SLAB[0], *SLAB[1:])
    cube = zarr.create_array(path, shape=shape, chunks=SLAB, dtype="f4", compressors=None)
    slab = np.random.default_rng(0).random(SLAB, np.float32)
    for at in range(slabs):
        cube[at * SLAB[0] : (at + 1) * SLAB[0]] = np.roll(slab, at, axis=0)
        show(f"writing the cube: {at + 1}/{slabs}")
    show("")
    return cube


def drop(chunk):
    """One value of a chunk, so that there is something to return."""
    return chunk[:1, :1, :1].copy()


def dropped(array):
    """The array computed, but nothing of it kept."""
    chunks = tuple((1,) * count for count in array.numblocks)
    return array.map_blocks(drop, chunks=chunks, meta=array._meta)


def peak_bytes():
    """In a worker: the most memory that it had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def seconds_of(client, work, name):
    """How long the cluster takes; a bar on a terminal."""
    start = time.perf_counter()
    future = client.compute(work)
    if sys.stdout.isatty():
        print(name)
        distributed.progress(future)
        print()
    future.result()
    return time.perf_counter() - start


def measure(where, args):
    """{name: seconds of each round}, bytes of the cube, most bytes of any worker."""
    cube = write_cube(where / "cube.zarr", args.gigabytes)
    w = np.random.default_rng(1).standard_normal((SLAB[2], FILTERS), np.float32)
    seconds = {"read": [], "convolve": [], "store": []}
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        distributed.LocalCluster(
            n_workers=args.workers,
            threads_per_worker=1,
            memory_limit=args.megabytes * 10**6,
            dashboard_address=None,
            local_directory=str(where),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        for _ in range(args.rounds):
            x = da.from_zarr(where / "cube.zarr")
            y = c1x1.dask.conv(x, w)
            seconds["read"].append(seconds_of(client, dropped(x), "read"))
            seconds["convolve"].append(seconds_of(client, dropped(y), "convolve"))
            shutil.rmtree(where / "result.zarr", ignore_errors=True)
            stored = y.to_zarr(where / "result.zarr", compute=False)
            seconds["store"].append(seconds_of(client, stored, "store"))
        peak = max(client.run(peak_bytes).values())
    result = zarr.open_array(where / "result.zarr", mode="r")
    for at in {0, cube.shape[0] - SLAB[0]}:
        slab = slice(at, at + SLAB[0])
        if not np.array_equal(result[slab], c1x1.conv(cube[slab], w)):
            raise SystemExit("the stored result is not what conv gives in memory")
    return seconds, cube.nbytes, peak


def report(seconds, cube_bytes, peak, args):
    base = statistics.median(seconds["read"])
    lines = [
        [
            name,
            f"{statistics.median(times):.2f}",
            f"{min(times):.2f} to {max(times):.2f}",
            f"{statistics.median(times) / base:.2f}",
        ]
        for name, times in seconds.items()
    ]
    return "\n\n".join(
        [
            f"{cube_bytes / 1e9:.2f} GB, {SLAB[2]} bands to {FILTERS}, {args.workers} workers",
            table(["what", "s", "range", "of read"], lines),
            f"Most memory of a worker: {peak / 1e6:.0f} MB; limit {args.megabytes} MB, "
            f"{args.workers * args.megabytes / 1e3:.2f} GB together.",
        ]
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=512, help="memory limit of a worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--where", type=Path, help="a directory for the files; default: temporary")
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args(arguments)
    if missing:
        raise SystemExit(f"{missing}: pip install 'c1x1[dask]' distributed 'zarr>=3'")
    with tempfile.TemporaryDirectory(prefix="c1x1-cube-", dir=args.where) as where:
        seconds, cube_bytes, peak = measure(Path(where), args)
    machine = facts()
    print(
        f"{machine['date']}, {machine['cpu']}, Python {machine['python']}, NumPy {np.__version__}, "
        f"dask {dask.__version__}, zarr {zarr.__version__}\n"
    )
    print(report(seconds, cube_bytes, peak, args))
    if args.json:
        figures = {"seconds": seconds, "cube_bytes": cube_bytes, "peak_bytes": peak}
        args.json.write_text(json.dumps(machine | figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
