import os

import numpy as np
import pytest

from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import Folder
from deepspot_scale.training.checkpoint import read_checkpoint, write_checkpoint
from deepspot_scale.training.log import Row, append_row, begin_log, read_log

ARRAYS = {
    "model": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64)],
    "seeds": [np.array([1, 2], np.uint32)] * 12,
}


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def test_a_checkpoint_read_back_is_the_one_written(tmp_path):
    folder = Folder(str(tmp_path))
    assert read_checkpoint(folder) is None
    write_checkpoint(folder, {"step": 3, "best": None}, ARRAYS)
    numbers, arrays = read_checkpoint(folder)
    assert numbers == {"step": 3, "best": None}
    assert arrays.keys() == ARRAYS.keys()
    for name, many in ARRAYS.items():
        for one, other in zip(arrays[name], many, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
            assert one.shape == other.shape


@pytest.mark.parametrize("kill_at", [1, 2])
def test_a_kill_while_writing_leaves_the_old_checkpoint_or_the_new(
    kill_at, tmp_path, monkeypatch
):
    folder = Folder(str(tmp_path))
    write_checkpoint(folder, {"step": 1}, {"model": [np.ones(3)]})
    replaced = []

    def replace_until_killed(source, target):
        replaced.append(target)
        if len(replaced) == kill_at:
            raise Killed
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", replace_until_killed)
    with pytest.raises(Killed):
        write_checkpoint(folder, {"step": 2}, {"model": [np.full(3, 2.0)]})
    monkeypatch.undo()
    numbers, arrays = read_checkpoint(folder)
    assert numbers["step"] == 1
    assert arrays["model"][0].tolist() == [1, 1, 1]
    write_checkpoint(folder, {"step": 2}, {"model": [np.full(3, 2.0)]})
    assert read_checkpoint(folder)[0]["step"] == 2
    files = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert files == ["arrays-000000002.safetensors", "state.json"]


@pytest.mark.parametrize("damage", ["state.json", "arrays-000000001.safetensors"])
def test_a_damaged_checkpoint_is_no_beginning(damage, tmp_path):
    folder = Folder(str(tmp_path))
    write_checkpoint(folder, {"step": 1}, {"model": [np.ones(3)]})
    path = tmp_path / "checkpoint" / damage
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunError, match="damaged"):
        read_checkpoint(folder)


def rows(steps):
    return [Row(s, 0.1 + s, None if s % 2 else 0.2, 1e-3, 1.25 * s) for s in steps]


def test_a_log_read_back_is_the_one_written(tmp_path):
    folder = Folder(str(tmp_path))
    begin_log(folder, 0)
    for row in rows(range(1, 6)):
        append_row(folder, row)
    assert read_log(folder) == rows(range(1, 6))


def test_a_log_taken_up_holds_every_step_once(tmp_path):
    folder = Folder(str(tmp_path))
    begin_log(folder, 0)
    for row in rows(range(1, 14)):
        append_row(folder, row)
    with (tmp_path / "log.csv").open("a") as file:
        file.write("1")  # of step 14, cut short by a kill
    assert read_log(folder) == rows(range(1, 14))
    begin_log(folder, 9)
    for row in rows(range(10, 16)):
        append_row(folder, row)
    assert read_log(folder) == rows(range(1, 16))


def test_there_is_no_log_before_the_first_step(tmp_path):
    folder = Folder(str(tmp_path))
    assert read_log(folder) == []
    begin_log(folder, 0)
    assert read_log(folder) == []
