"""Writing to the lake is atomic, whatever happens to the writer."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from upath import UPath

from mta_pipeline.lake.storage import files_in, part_path, read_bytes, set_aside, write_atomically

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

OLD, NEW = b"old" * 1000, b"new" * 1_000_000

STALLED_WRITER = """
    import os, sys, mta_pipeline.lake.storage as storage
    from upath import UPath

    def stall(descriptor):
        print("bytes written, not renamed", flush=True)
        sys.stdin.readline()

    storage.os.fsync = stall
    storage.write_atomically(UPath(sys.argv[1]), b"new" * 1_000_000)
"""

BUSY_WRITER = """
    import sys
    from upath import UPath
    from mta_pipeline.lake.storage import write_atomically

    print("ready", flush=True)
    for _ in range(int(sys.argv[3])):
        write_atomically(UPath(sys.argv[1]), sys.argv[2].encode() * 4_000_000)
"""

REFUSED_WRITER = """
    import os, sys
    from upath import UPath
    from mta_pipeline.lake.storage import read_bytes, write_atomically

    path = UPath(sys.argv[1])
    write_atomically(path, b"old" * 1000)
    try:
        write_atomically(path, b"new" * 1_000_000)
    except OSError as error:
        print(error.errno, error)
    assert read_bytes(path) == b"old" * 1000
    assert os.listdir(path.parent) == ["part-0.parquet"]
"""


@contextmanager
def running_script(script: str, *arguments: object, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a Python process and wait for its first line of output."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> UPath:
    return part_path(str(tmp_path / "lake"), "staged", "turnstile_readings", "2024-01-06")


def files_beside(path: UPath) -> set[str]:
    return {entry.name for entry in path.parent.iterdir()}


def test_a_file_is_stored_by_layer_table_and_week() -> None:
    assert str(part_path("/lake", "staged", "turnstile_readings", "2024-01-06")) == (
        "/lake/staged/turnstile_readings/week=2024-01-06/part-0.parquet"
    )
    assert str(part_path("gs://bucket/lake", "lake", "control_areas")) == (
        "gs://bucket/lake/lake/control_areas/part-0.parquet"
    )


@pytest.mark.parametrize("payload", [NEW, memoryview(NEW), b""], ids=["bytes", "memoryview", "nothing"])
def test_written_bytes_are_read_back_and_no_other_file_is_left(path: UPath, payload: bytes | memoryview) -> None:
    write_atomically(path, OLD)
    write_atomically(path, payload)
    assert read_bytes(path) == bytes(payload)
    assert files_beside(path) == {"part-0.parquet"}


def test_a_file_url_works_like_a_directory(tmp_path: Path) -> None:
    write_atomically(part_path(tmp_path.as_uri(), "raw", "turnstile_file"), NEW)
    assert (tmp_path / "raw" / "turnstile_file" / "part-0.parquet").read_bytes() == NEW


def test_the_file_mode_follows_the_umask(path: UPath) -> None:
    umask = os.umask(0o027)
    try:
        write_atomically(path, NEW)
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_missing_file_is_a_file_not_found_error(path: UPath) -> None:
    with pytest.raises(FileNotFoundError):
        read_bytes(path)


def test_a_damaged_file_is_set_aside_and_counts_as_missing(path: UPath) -> None:
    write_atomically(path, OLD)
    set_aside(path, lambda contents: contents == OLD)
    assert files_beside(path) == {".part-0.parquet.damaged"}
    set_aside(path, lambda _: True)  # nothing is left to set aside
    write_atomically(path, NEW)
    set_aside(path, lambda contents: contents == OLD)  # another run has replaced it
    assert read_bytes(path) == NEW


@pytest.mark.slow
def test_a_damaged_object_in_a_bucket_is_set_aside(gcs_bucket: str) -> None:
    path = part_path(gcs_bucket, "staged", "turnstile_readings", "2024-01-06")
    write_atomically(path, OLD)
    set_aside(path, lambda contents: contents == NEW)
    assert read_bytes(path) == OLD
    set_aside(path, lambda contents: contents == OLD)
    assert [found.path.name for found in files_in(path.parent)] == [".part-0.parquet.damaged"]


@pytest.mark.slow
def test_a_writer_killed_during_a_write_keeps_the_old_file_and_the_next_write_removes_its_temporary_file(
    processes: None, path: UPath
) -> None:
    write_atomically(path, OLD)
    with running_script(STALLED_WRITER, path) as writer:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert read_bytes(path) == OLD
    assert len(files_beside(path)) == 2
    assert ds.dataset(str(path.parent), schema=pa.schema([]), format="parquet").files == [str(path)]
    write_atomically(path, NEW)
    assert read_bytes(path) == NEW
    assert files_beside(path) == {"part-0.parquet"}


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_complete_file(processes: None, path: UPath) -> None:
    write_atomically(path, b"a" * 4_000_000)
    for pause in (0.001, 0.004, 0.01, 0.03):
        with running_script(BUSY_WRITER, path, "b", 1000) as writer:
            time.sleep(pause)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert read_bytes(path) in {b"a" * 4_000_000, b"b" * 4_000_000}
    write_atomically(path, b"a")
    assert files_beside(path) == {"part-0.parquet"}


@pytest.mark.slow
def test_the_temporary_file_of_a_running_writer_is_not_removed(processes: None, path: UPath) -> None:
    with running_script(STALLED_WRITER, path) as writer:
        for week in range(3):
            write_atomically(path, b"%d" % week)
        assert read_bytes(path) == b"2"
        writer.communicate("go on\n")
        assert writer.returncode == 0
    assert read_bytes(path) == NEW
    assert files_beside(path) == {"part-0.parquet"}


@pytest.mark.slow
def test_with_two_concurrent_writers_one_wins_and_the_file_is_always_complete(processes: None, path: UPath) -> None:
    complete = {b"a" * 4_000_000, b"b" * 4_000_000}
    write_atomically(path, b"a" * 4_000_000)
    with running_script(BUSY_WRITER, path, "a", 40) as one, running_script(BUSY_WRITER, path, "b", 40) as other:
        while one.poll() is None or other.poll() is None:
            assert read_bytes(path) in complete
        assert one.returncode == other.returncode == 0
    assert files_beside(path) == {"part-0.parquet"}


@pytest.mark.slow
def test_writers_to_one_folder_do_not_remove_each_other_s_temporary_files(processes: None, path: UPath) -> None:
    paths = [path.with_name(f"part-{n}.parquet") for n in range(4)]
    busy = BUSY_WRITER.replace("4_000_000", "10")
    with (
        running_script(busy, paths[0], "0", 500) as a,
        running_script(busy, paths[1], "1", 500) as b,
        running_script(busy, paths[2], "2", 500) as c,
        running_script(busy, paths[3], "3", 500) as d,
    ):
        assert [writer.wait() for writer in (a, b, c, d)] == [0, 0, 0, 0]
    assert files_beside(path) == {path.name for path in paths}


@pytest.mark.slow
def test_a_write_that_the_system_interrupts_is_reported_with_the_path_and_keeps_the_old_file(
    processes: None, path: UPath
) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    script = limit + textwrap.dedent(REFUSED_WRITER)
    output = subprocess.check_output([sys.executable, "-c", script, str(path)], text=True)
    assert re.match(rf"{errno.EFBIG} .*Not written, any previous file remains.*{re.escape(str(path))}", output)


@pytest.mark.slow
def test_a_full_disk_is_reported_with_the_path_and_the_old_file_is_kept(processes: None, tmp_path: Path) -> None:
    disk = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-ec",
        'mount -t tmpfs -o size=1m tmpfs "$0"; "$@"',
    ]
    if not shutil.which("unshare") or subprocess.run([*disk, tmp_path, "true"], check=False).returncode:
        pytest.skip("no right to mount a small disk")
    path = tmp_path / "lake" / "part-0.parquet"
    script = textwrap.dedent(REFUSED_WRITER)
    output = subprocess.check_output([*disk, tmp_path, sys.executable, "-c", script, path], text=True)
    assert re.match(rf"{errno.ENOSPC} .*Not written, any previous file remains.*{re.escape(str(path))}", output)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_bytes(b"a file where the lake should be")
    path = part_path(str(tmp_path / "lake"), "raw", "turnstile_file")
    with pytest.raises(OSError, match=re.escape(str(path))):
        write_atomically(path, NEW)


@pytest.mark.slow
def test_a_bucket_stores_and_returns_a_file_of_any_size(gcs_bucket: str) -> None:
    path = part_path(f"{gcs_bucket}/lake", "staged", "turnstile_readings", "2024-01-06")
    with pytest.raises(FileNotFoundError):
        read_bytes(path)
    for payload in (OLD, memoryview(NEW), b"", b"large" * 11_000_000):
        write_atomically(path, payload)
        assert read_bytes(path) == bytes(payload)
    assert path.fs.find(gcs_bucket) == [path.path]


@pytest.mark.slow
def test_a_missing_bucket_is_named(gcs_bucket: str) -> None:
    path = part_path(f"{gcs_bucket}-elsewhere", "raw", "turnstile_file")
    with pytest.raises(OSError, match=re.escape(str(path))):
        write_atomically(path, NEW)
