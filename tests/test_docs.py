"""The README and docs/: their commands run, their links lead somewhere, and what they repeat of the code is what the code says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.expectations import load_expectations
from bench.options import make_parser
from bench.rows import ROWS, published_flags
from bench.wording import row_ranges
from gptcore.__main__ import make_parser as make_own_parser

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")], key=lambda path: path.name)
FENCED = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python -m (?:bench|gptcore)|nox -s) [^`]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")

# What makes a command one of seconds, or one that does without GPT-2's weights: it runs with these words behind it, after `--` under nox.
SHORTER = {
    "nox -s full": "--rows 10 --data-dir my_texts --device cpu --lenient",
    "nox -s full -- --rows 1,4-5 --device cpu": "--rows 10 --data-dir my_texts --lenient",
    "nox -s record": "--rows 3 --no-repeats --seeds 2",
    "nox -s record -- --rows 3": "--no-repeats --seeds 2",
    "nox -s sensitivity": "--only 'weight decay 0.09'",
    "nox -s smoke": "--rows 3",
    "nox -s speed": "--rows 3 --limit-train 8",
    "nox -s tests": "--collect-only -q",
    "python examples/own_rows/rows.py record": "--rows 3 --no-repeats --seeds 2",
    "python -m bench compare main my-branch --rows 1,4 --repeats 5": "--repeats 1",
    "python -m bench run --tier full --rows 1 --data-dir my_texts": "--rows 10",
    "python -m gptcore --data_dir my_texts": "--weights random",
    "python -m bench doctor --tier full --rows 1,8": "--rows 10 --device cpu --data-dir my_texts",
    "python -m bench fetch --rows 1,8": "--rows 10",
    "python -m gptcore --weights random --num_epochs 1 --json result.json": "--data_dir my_texts",
}
INSTALLED = ("python -m pip",)  # what every run of these tests has done already
MADE_BEFORE = "python -m bench run --rows 1-4 --out results/mine"  # the results that a page speaks of without making them
NEEDS_VOCABULARY = ("nox -s full", "--tier full", "python -m gptcore")


def commands_of(page):
    """The commands of a page's blocks, in their order, without comments."""
    lines = (line for _, block in FENCED.findall(page.read_text(encoding="utf-8")) for line in block.splitlines())
    return [part.strip() for line in lines for part in line.partition("  #")[0].split("&&") if part.strip()]


def by_page(find):
    return [pytest.param(page, found, id=page.name) for page in PAGES if (found := find(page))]


class Session:
    """A nox session whose commands run with this interpreter, which has what the session would install."""

    def __init__(self, words, run):
        self.posargs = words
        self._run = run

    def run(self, program, *arguments, **options):
        self._run([program, *arguments])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clean checkout of the files as they are now, `my-branch` with a defect in it, and texts of one's own."""
    home = tmp_path_factory.mktemp("docs") / "checkout"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    for path in (ROOT / name for name in names.split("\0") if name):
        if path.is_file():
            copied = home / path.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copied)
    (home / "my_texts").mkdir()
    for name, n_texts in (("train", 8), ("validation", 4), ("test", 4)):
        lines = [f'{number % 2},"{"win cash" if number % 2 else "see you"} {number}"' for number in range(n_texts)]
        (home / "my_texts" / f"{name}.csv").write_text("\n".join(["Label,Text", *lines]) + "\n")
    git(home, "init", "--quiet", "--initial-branch", "main", ".")
    (home / ".git" / "info" / "exclude").write_text("my_texts/\nresult.json\n")
    git(home, "add", "--all")
    git(home, "commit", "--quiet", "-m", "the suite")
    git(home, "tag", "v1")
    git(home, "checkout", "--quiet", "-b", "my-branch")
    loop = home / "gptcore" / "loop.py"
    loop.write_text(loop.read_text().replace("weight_decay=experiment.weight_decay", "weight_decay=0.09"))
    git(home, "commit", "--quiet", "-am", "decay less")
    return home


def git(home, *arguments):
    subprocess.run(["git", "-c", "user.name=a reader", "-c", "user.email=reader@example.org", *arguments], cwd=home, check=True)


@pytest.fixture(scope="session")
def vocabulary():
    """The folder with GPT-2's vocabulary, which commands of the full tier read; None where there is none."""
    folder = Path(os.environ.get("GPTCORE_ASSETS", ROOT.parent / "shared" / "assets"))
    return folder if (folder / "tiktoken").is_dir() else None


@pytest.fixture
def follow(checkout, noxfile, vocabulary, monkeypatch):
    """Runs a command of a page in a checkout without results, as a reader would but for what is in SHORTER."""
    shutil.rmtree(checkout / "results", ignore_errors=True)
    # A pytest within takes itself for one of our own processes otherwise.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = kept | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"} | ({"GPTCORE_ASSETS": str(vocabulary)} if vocabulary else {})

    def run(words):
        words = [sys.executable if Path(words[0]).name.startswith("python") else words[0], *words[1:]]
        done = subprocess.run(words, cwd=checkout, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=500)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

    def follow(command):
        words = [*shlex.split(command), *(["--"] if command.startswith("nox") and " -- " not in command else []), *shlex.split(SHORTER.get(command, ""))]
        if words[0] != "nox":
            return run(words)
        session = noxfile[words[words.index("-s") + 1]].func
        monkeypatch.setitem(session.__globals__, "install", lambda session, extra: None)
        return session(Session(words[words.index("--") + 1 :], run))

    return follow


@pytest.mark.slow
@pytest.mark.parametrize(("page", "commands"), by_page(lambda page: [] if page.name == "README.zh-CN.md" else commands_of(page)))
def test_the_commands_of_a_page_run_one_after_the_other(page, commands, checkout, follow, vocabulary):
    git(checkout, "checkout", "--quiet", "--force", "my-branch" if page.name == "comparing.md" else "main")
    commands = [command for command in commands if not command.startswith(INSTALLED)]
    left_out = [] if vocabulary else [command for command in commands if any(part in command for part in NEEDS_VOCABULARY)]
    commands = [command for command in commands if command not in left_out]
    spoken_of = [command for command in commands if "results/mine" in command]
    if spoken_of and "--out results/mine" not in spoken_of[0]:
        follow(MADE_BEFORE)
    for command in commands:
        follow(command)
    if left_out:
        pytest.skip(f"all others ran, but without GPT-2's vocabulary not {'; '.join(left_out)}: put it where docs/runner.md says")


def test_the_chinese_readme_has_the_same_commands():
    assert commands_of(ROOT / "README.zh-CN.md") == commands_of(ROOT / "README.md")


def test_what_is_shortened_stands_in_some_page():
    assert SHORTER.keys() <= {command for page in PAGES for command in commands_of(page)}


@pytest.mark.parametrize(("page", "commands"), by_page(lambda page: INLINE.findall(page.read_text(encoding="utf-8"))))
def test_commands_within_sentences_name_what_exists(page, commands, noxfile):
    for command in commands:
        program, *words = shlex.split(command.removeprefix("python -m "))
        if program == "nox":
            assert words[1] in noxfile, command
        elif words and words[-1] != "--help":
            parser = make_parser() if program == "bench" else make_own_parser()
            parser.parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_page_is_found_from_the_readme():
    read = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in read] == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("README*.md")), ids=lambda page: page.name)
def test_the_table_of_rows_is_that_of_the_code(page):
    flags = {int(number): said for number, said in re.findall(r"^\| (\d+) \| [^|]+ \| (?:`([^`]*)`|-) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)}
    assert flags == {row.number: published_flags(row) for row in ROWS}


def test_the_flaws_are_those_of_the_expectations():
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    told = dict.fromkeys(row for row, _ in re.findall(r"^\| ([\d,-]+|all) \| (.+) \|$", page, re.MULTILINE))
    flaws = load_expectations().published.flaws
    assert {"all" if len(flaw.rows) == len(ROWS) else row_ranges(flaw.rows) for flaw in flaws} == set(told)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_figure_is_still_to_come(page):
    assert re.findall(r"TODO|TBD|FIXME|\bFAULTS\b|@@", page.read_text(encoding="utf-8")) == []
