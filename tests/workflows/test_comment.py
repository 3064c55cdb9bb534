"""comment.yml's script, taken out of the workflow and run by node against a GitHub of ours."""

import base64
import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import cmarkgfm
import pytest
import yaml
from cmarkgfm.cmark import Options

from bench.report.summary import marker

WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "comment.yml"
SHA = "a" * 40
MARKER = marker("smoke")
BOT = {"login": "github-actions[bot]"}

pytestmark = pytest.mark.skipif(not (shutil.which("node") and shutil.which("unzip")), reason="needs node and unzip, which GitHub's machines have")


def archive(members):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return written.getvalue()


def pull(number=7, sha=SHA, repository=2):
    return {"number": number, "head": {"sha": sha, "repo": {"id": repository}}}


def artifact(number=1, name="smoke-summary", size=1000, expired=False):
    return {"id": number, "name": name, "size_in_bytes": size, "expired": expired}


@pytest.fixture
def run_script(tmp_path):
    """Runs the script; returns the comments it wrote, as (verb, query), every request it made, and what it told."""
    (step,) = yaml.safe_load(WORKFLOW.read_text())["jobs"]["comment"]["steps"]

    def run(text="fine", *, members=None, data=None, **given):
        usual = {
            "run": {
                "id": 11,
                "run_number": 3,
                "html_url": "https://github.com/owner/benchmarks/actions/runs/11",
                "conclusion": "success",
                "head_sha": SHA,
                "head_branch": "their/branch",
                "head_repository": {"id": 2, "full_name": "stranger/benchmarks", "owner": {"login": "stranger"}},
            },
            "pulls": [pull()],
            "artifacts": [artifact()],
            "comments": {},
        }
        usual["run"] |= given.pop("run", {})
        packed = archive({"summary.md": text} if members is None else members) if data is None else data
        scenario = usual | given | {"script": step["with"]["script"], "archive": base64.b64encode(packed).decode()}
        (tmp_path / "runner").mkdir(exist_ok=True)
        done = subprocess.run(
            ["node", str(Path(__file__).with_name("fake_github.js"))],
            input=json.dumps(scenario),
            env={"RUNNER_TEMP": str(tmp_path / "runner"), "PATH": "/usr/bin:/bin:/usr/local/bin"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["runner"]
        assert {path.name for path in (tmp_path / "runner").iterdir()} <= {"summary.zip"}
        outcome = json.loads(done.stdout)
        written = [(verb, query) for verb, query in outcome["did"] if verb in ("createComment", "updateComment")]
        return written, outcome["did"], outcome["told"]

    return run


def body_of(outcome):
    ((_, query),) = outcome[0]
    return query["body"]


def html_of(markdown):
    """As GitHub renders it, before it looks for mentions and references in what stands between tags."""
    return cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE)


# One comment, in the right place


def test_a_first_run_makes_a_comment_with_the_verdict(run_script):
    ((verb, query),), did, _ = run_script("**smoke tier: passed** - 19 of 19 judged rows hold")
    assert (verb, query["issue_number"]) == ("createComment", 7)
    marked, heading, warning, *rest = query["body"].split("\n\n")
    assert marked == MARKER
    assert heading == "**smoke: success** at aaaaaaaaaa, [run 3](https://github.com/owner/benchmarks/actions/runs/11)"
    assert "the code of this pull request had a hand in it" in warning
    assert rest == ["**smoke tier: passed** - 19 of 19 judged rows hold"]
    assert dict(did)["pulls.list"]["head"] == "stranger:their/branch"


def test_a_later_run_rewrites_it(run_script):
    own = {"id": 5, "user": BOT, "body": f"{MARKER}\n\nold"}
    ((verb, query),), *_ = run_script(comments={"7": [{"id": 4, "user": BOT, "body": "another"}, own]})
    assert (verb, query["comment_id"]) == ("updateComment", 5)


@pytest.mark.parametrize(
    "comment",
    [
        {"id": 5, "user": {"login": "stranger"}, "body": f"{MARKER}\n\nmine"},
        {"id": 5, "user": BOT, "body": f"quoted {MARKER}"},
        {"id": 5, "user": None, "body": MARKER},
        {"id": 5, "user": BOT, "body": None},
    ],
)
def test_no_comment_but_our_own_is_rewritten(run_script, comment):
    ((verb, _),), *_ = run_script(comments={"7": [comment]})
    assert verb == "createComment"


@pytest.mark.parametrize(
    "pulls",
    [[], [pull(sha="b" * 40)], [pull(repository=3)], [{"number": 7, "head": {"sha": SHA, "repo": None}}]],
    ids=["none", "a newer commit", "another repository", "a repository that is gone"],
)
def test_a_run_of_no_open_pull_request_says_nothing(run_script, pulls):
    written, did, told = run_script(pulls=pulls)
    assert written == []
    assert [verb for verb, _ in did] == ["pulls.list"]
    assert len(told) == 1


def test_a_repository_that_is_gone_ends_it(run_script):
    written, did, _ = run_script(run={"head_repository": None})
    assert written == did == []


def test_the_artifact_has_no_say_in_where_its_text_goes(run_script):
    members = {"summary.md": "text", "pr_number": "1", "number.txt": "1", "../pr_number": "1"}
    ((_, query),), *_ = run_script(members=members, pulls=[pull(), pull(8, sha="b" * 40)])
    assert query["issue_number"] == 7


# What an archive of strangers may do


def test_the_newest_artifact_of_that_name_is_read(run_script):
    artifacts = [artifact(3), artifact(9), artifact(12, name="other"), artifact(11, expired=True), artifact(4)]
    _, did, _ = run_script(artifacts=artifacts)
    assert dict(did)["downloadArtifact"]["artifact_id"] == 9


@pytest.mark.parametrize("artifacts", [[], [artifact(expired=True)], [artifact(name="smoke-results")]])
def test_a_run_without_a_summary_is_told(run_script, artifacts):
    outcome = run_script(artifacts=artifacts, run={"conclusion": "failure"})
    assert "**smoke: failure**" in body_of(outcome)
    assert "The run ended before it wrote a summary." in body_of(outcome)


def test_an_archive_that_is_too_large_is_not_even_fetched(run_script):
    outcome = run_script(artifacts=[artifact(size=200_001)])
    assert "too large" in body_of(outcome)
    assert "downloadArtifact" not in dict(outcome[1])


@pytest.mark.parametrize(
    "archived",
    [
        {"members": {}},
        {"members": {"../summary.md": "out", "/tmp/summary.md": "out", "sub/summary.md": "in"}},
        {"members": {"summary.md": "0" * 200_001}},
        {"members": {"summary.md": "0" * 50_000_000}},
        {"data": b"no archive"},
        {"data": b""},
    ],
    ids=["empty", "paths", "too long a text", "bomb", "no archive", "nothing"],
)
def test_an_archive_that_is_none_of_ours_has_no_effect(run_script, archived):
    assert body_of(run_script(**archived)).endswith("The run's summary cannot be read.")


def test_paths_in_the_archive_are_never_written(run_script, tmp_path):
    outcome = run_script(members={"summary.md": "ours", "../escaped": "x", "/tmp/escaped-from-a-test": "x"})  # the fixture looks for files
    assert body_of(outcome).endswith("ours")
    assert not Path("/tmp/escaped-from-a-test").exists()


# What a text of strangers may do

HOSTILE = """<!-- hidden --> <img src=x onerror=y> <a href="https://evil.example">a</a> <https://evil.example> &#60;b&#62;
@octocat &#64;octocat &commat;octocat \\@octocat a@evil.example fixes #12 &#35;12 \\#12 GH-12 owner/repo#12
[link](https://evil.example) ![picture](https://evil.example/x.png) [named] [named][] [text][named] https://evil.example www.evil.example WWW.evil.example gh-12
http:\\//evil.example ftp://evil.example mailto:a@evil.example xmpp:a@evil.example \u202ereversed

[named]: https://evil.example
[^1]: https://evil.example
<script>alert(1)</script>
"""


def test_nothing_in_a_text_of_strangers_acts(run_script):
    body = body_of(run_script(HOSTILE))
    ours, _, theirs = body.partition("had a hand in it.")
    html = html_of(theirs)
    assert not re.search(r"<(?!/?(p|br)\b)", html)
    shown = re.sub("<[^>]*>", "", html)
    assert not re.search(r"@\w|#\d|GH-\d|://|www\.", shown.replace("&amp;", "&"), re.IGNORECASE)
    assert not re.search(r"&(?!amp;|lt;|gt;|quot;)", shown)
    assert "\u202e" not in theirs
    assert "hidden" in shown
    assert html_of(ours).count("<a ") == 1


def test_what_the_summary_folds_stays_folded_and_what_it_escapes_stays_escaped(run_script):
    text = f"{MARKER}\n\nverdict\n\n<details><summary>rows</summary>\n\n| a |\n| --- |\n| &lt;b> &amp; `<i>` |\n\n</details>\n"
    body = body_of(run_script(text))
    assert body.count("fine-tuning benchmarks: smoke") == 1
    html = html_of(body)
    assert "<details><summary>rows</summary>" in html
    assert "</details>" in html
    assert "<td>&lt;b&gt; &amp; <code>&lt;\u200bi&gt;</code></td>" in html


def test_a_long_text_is_cut_at_a_line(run_script):
    body = body_of(run_script("\n".join(f"line {number} @{'x' * 90}" for number in range(1500))))
    assert len(body) <= 65_000
    assert body.endswith("xxx\n\nThe rest stands in the run's artifact.")


LONG = "\n".join(f"line {number} {'x' * 90}" for number in range(1500))
FOLD = "<details><summary>rows</summary>\n\n"


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        (FOLD, "\n</details>\n"),
        ("```text\n", "\n```\n"),
        ("~~~~\n```\n", "\n~~~~\n"),
        (f"{FOLD}{FOLD}````text\n```\n</details>\n", "\n````\n\n</details>\n\n</details>\n"),
        (f"{FOLD}```\nx\n```\n\n</details>\n\n", ""),
        ("``` no `fence`\n", ""),
    ],
    ids=["a fold", "a block of code", "a block of tildes", "a block in two folds", "a closed one", "no block"],
)
def test_a_cut_closes_what_it_leaves_open(run_script, opened, closed):
    body = body_of(run_script(opened + LONG))
    assert len(body) <= 65_000
    assert body.endswith(f"xxx{closed}\n\nThe rest stands in the run's artifact.")
    html = html_of(body)
    assert html.count("<details>") == html.count("</details>")
    assert html.endswith("<p>The rest stands in the run's artifact.</p>\n")


@pytest.mark.parametrize("opened", ["`" * 50_000 + "\n", "<details>\n\n" * 4000], ids=["a fence", "folds"])
def test_no_text_makes_the_end_of_a_cut_one_too_long(run_script, opened):
    assert len(body_of(run_script(opened + LONG))) <= 65_000
