"""What holds of every workflow, whoever wrote it."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SESSION = re.compile(r"\bnox -s \"?(\w+)")
# Contexts with values that a contributor may choose: in a script his text would become our code.
OPEN_CONTEXTS = re.compile(r"\b(github\.event|github\.head_ref|github\.ref_name|inputs|steps|needs|env|vars|secrets)\b")


def templates_in(text):
    return re.findall(r"\$\{\{(.*?)\}\}", text, re.DOTALL)


def read(path):
    return yaml.safe_load(path.read_text())


def steps_of(workflow):
    return [step for job in workflow["jobs"].values() for step in job.get("steps", ())]


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings_in(one)


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request):
    return read(request.param)


def triggers(workflow):
    return workflow[True]  # YAML 1.1 reads the key `on` as a truth


def test_the_three_are_there():
    assert {"smoke", "full", "comment"} <= {path.stem for path in WORKFLOWS}


def test_a_workflow_is_named_after_its_file():
    assert {path.stem: read(path)["name"] for path in WORKFLOWS} == {path.stem: path.stem for path in WORKFLOWS}


def test_actions_are_pinned_by_commit_and_say_which_version(workflow, request):
    text = request.node.callspec.params["workflow"].read_text()
    used = [step["uses"] for step in steps_of(workflow) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w./-]+@([0-9a-f]{40}|v\d+)", action)
        if not re.search(r"@v\d+$", action):
            assert re.search(rf"{re.escape(action)} # v\d+\.\d+\.\d+$", text, re.MULTILINE)


def test_one_action_has_one_pin_everywhere():
    used = {step["uses"] for path in WORKFLOWS for step in steps_of(read(path)) if "uses" in step}
    assert len(used) == len({action.split("@")[0] for action in used})


def test_nothing_is_allowed_that_was_not_asked_for(workflow):
    allowed = [workflow["permissions"], *(job["permissions"] for job in workflow["jobs"].values() if "permissions" in job)]
    assert all(isinstance(one, dict) for one in allowed)
    writing = {scope for one in allowed for scope, level in one.items() if level == "write"}
    assert writing == ({"pull-requests"} if workflow["name"] == "comment" else set())


def test_every_job_ends_and_every_workflow_says_what_it_waits_for(workflow):
    assert all(0 < job["timeout-minutes"] <= 1440 for job in workflow["jobs"].values())
    assert "cancel-in-progress" in workflow["concurrency"]


def test_a_checkout_leaves_no_token_behind(workflow):
    for step in steps_of(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_no_script_is_written_by_a_template(workflow):
    for step in steps_of(workflow):
        for script in (step.get("run", ""), step.get("with", {}).get("script", "")):
            assert not any(OPEN_CONTEXTS.search(template) for template in templates_in(script))


@pytest.mark.parametrize(
    "text", ["${{ github.event.pull_request.title }}", "a ${{inputs.rows}}", "${{ format('{0}', github.head_ref) }}", "${{ a\n.b + env.X }}"]
)
def test_a_template_with_values_of_others_is_found(text):
    (template,) = templates_in(text)
    assert OPEN_CONTEXTS.search(template)


@pytest.mark.parametrize("text", ["$GITHUB_SHA ${ROWS} {{ inputs.x }}", "${{ matrix.torch }} inputs", "${{ github.sha }}"])
def test_other_text_is_no_such_template(text):
    assert not any(OPEN_CONTEXTS.search(template) for template in templates_in(text))


def test_steps_and_jobs_that_are_referred_to_exist(workflow):
    for name, job in workflow["jobs"].items():
        ids = {step["id"] for step in job.get("steps", ()) if "id" in step}
        for text in strings_in(job):
            for expression in templates_in(text):
                assert set(re.findall(r"\bsteps\.([\w-]+)\.", expression)) <= ids
                assert set(re.findall(r"\bneeds\.([\w-]+)\.", expression)) <= set(workflow["jobs"]) - {name}
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(workflow["jobs"]) - {name}


def test_sessions_that_are_run_exist(workflow):
    sessions = set(re.findall(r"^@nox\.session.*\n(?:@.*\n)*def (\w+)\(", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
    runs = [step["run"] for step in steps_of(workflow) if "run" in step]
    assert {name for run in runs for name in SESSION.findall(run)} <= sessions


def test_smoke_runs_what_a_person_runs():
    runs = " ".join(step.get("run", "") for step in steps_of(read(ROOT / ".github/workflows/smoke.yml")))
    assert {"lint", "types", "tests", "smoke", "summary", "report"} == set(SESSION.findall(runs))


# Pull requests of strangers


def test_nothing_of_a_pull_request_runs_with_rights_or_on_our_own_machine(workflow):
    on = set(triggers(workflow)) if not isinstance(triggers(workflow), str) else {triggers(workflow)}
    assert "pull_request_target" not in on
    if any("self-hosted" in job["runs-on"] for job in workflow["jobs"].values()):
        assert on <= {"schedule", "workflow_dispatch"}


def test_the_report_is_among_the_results_that_smoke_keeps():
    steps = steps_of(read(ROOT / ".github/workflows/smoke.yml"))
    names = [step.get("name") for step in steps]
    assert names.index("Report") < names.index("Keep the results")
    report, kept = (steps[names.index(name)] for name in ("Report", "Keep the results"))
    assert report["run"] == "nox -s report -- results/smoke"
    assert kept["with"]["path"] == "results/"


def test_full_needs_a_variable_that_forks_lack():
    (job,) = read(ROOT / ".github/workflows/full.yml")["jobs"].values()
    assert "vars.A100_RUNNER == 'yes'" in job["if"]
    assert "!github.event.repository.fork" in job["if"]


def test_comment_runs_one_script_of_ours_and_nothing_else():
    comment = read(ROOT / ".github/workflows/comment.yml")
    (step,) = steps_of(comment)
    assert step["uses"].startswith("actions/github-script@")
    assert comment["permissions"] == {}
    (job,) = comment["jobs"].values()
    assert job["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert triggers(comment) == {"workflow_run": {"workflows": ["smoke"], "types": ["completed"]}}
    assert "github.event.workflow_run.event == 'pull_request'" in job["if"]


def test_comment_reads_the_artifact_that_smoke_leaves():
    smoke = [step["with"] for step in steps_of(read(ROOT / ".github/workflows/smoke.yml")) if "upload-artifact" in step.get("uses", "")]
    (left,) = (one for one in smoke if one["name"] == "smoke-summary")
    assert left["path"] == "results/summary.md"
    (step,) = steps_of(read(ROOT / ".github/workflows/comment.yml"))
    assert '"smoke-summary"' in step["with"]["script"]
    assert '"summary.md"' in step["with"]["script"]


def test_full_goes_on_where_it_broke_off():
    (job,) = read(ROOT / ".github/workflows/full.yml")["jobs"].values()
    (run,) = (step["run"] for step in job["steps"] if step.get("name") == "Full")
    assert '--resume "$FOLDER"' in run
    assert "$BENCH_HOME" in run
