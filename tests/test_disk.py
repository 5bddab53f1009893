"""A file that is written whole is one of two things, whatever kills the writer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from desk.disk import write_whole

ROOT = Path(__file__).resolve().parents[1]
OLD, NEW = "old\n" * 100_000, "new and longer\n" * 100_000
PROGRAM = """
import sys
from pathlib import Path
from desk.disk import write_whole
old, new = "old\\n" * 100_000, "new and longer\\n" * 100_000
while True:
    for content in (new, old):
        write_whole(Path(sys.argv[1]), content)
        print("written", flush=True)
"""


@pytest.mark.parametrize("writes", [1, 2, 3, 4, 7])
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, writes: int) -> None:
    path = tmp_path / "folder" / "file"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        for _ in range(writes):
            assert "written\n" == writer.stdout.readline()
        writer.kill()

    assert path.read_text(encoding="utf-8") in {OLD, NEW}


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "file", "\ud800")

    assert b"old" == (tmp_path / "file").read_bytes()
