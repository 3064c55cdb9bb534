// Runs an inline script as actions/github-script does, with a GitHub made of what stands on standard input, and prints what the script did.
const input = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const did = [];
const told = [];

const answering = (name, answer) => async (query) => {
  did.push([name, query]);
  return answer(query);
};
const github = {
  paginate: async (method, query) => method(query),
  rest: {
    pulls: { list: answering("pulls.list", () => input.pulls) },
    actions: {
      listWorkflowRunArtifacts: answering("listWorkflowRunArtifacts", () => input.artifacts),
      downloadArtifact: answering("downloadArtifact", () => ({ data: Uint8Array.from(Buffer.from(input.archive, "base64")).buffer })),
    },
    issues: {
      listComments: answering("listComments", (query) => input.comments[query.issue_number] ?? []),
      createComment: answering("createComment", () => ({})),
      updateComment: answering("updateComment", () => ({})),
    },
  },
};
const context = { repo: { owner: "owner", repo: "benchmarks" }, payload: { workflow_run: input.run } };
const core = { info: (line) => void told.push(line) };
const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;

new AsyncFunction("github", "context", "core", "require", input.script)(github, context, core, require).then(
  () => console.log(JSON.stringify({ did, told })),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
