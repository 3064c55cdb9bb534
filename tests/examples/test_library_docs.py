"""docs/library.md: its Python runs."""

import re
from pathlib import Path

DOCS = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")


def test_the_python_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
    exec(code, {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["spam", "ham"]
    assert (tmp_path / "spam-hf" / "config.json").exists()


def test_the_files_it_speaks_of_are_there():
    named = re.findall(r"`(examples/[\w/.]+)`", DOCS)
    assert named
    assert all((Path(__file__).parents[2] / name).exists() for name in named)
