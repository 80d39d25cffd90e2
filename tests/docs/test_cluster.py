"""docs/cluster.md and docs/cluster/: files that their systems can read, with commands that the command line parses."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tiny import tree

from smile_synth.cli import app
from smile_synth.machine.array_jobs import find_place
from smile_synth.recipe.recipe import load_recipe

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "cluster"
PAGE = (DOCS / "cluster.md").read_text(encoding="utf-8")
SCRIPTS = sorted([*FOLDER.glob("slurm/*"), *FOLDER.glob("ray/*.sh")])
# What the systems set, or the scripts read from the outside.
VARIABLES = {
    "SLURM_CPUS_PER_TASK": "32",
    "SLURM_NNODES": "2",
    "SLURM_GPUS_ON_NODE": "8",
    "SLURM_JOB_ID": "7",
    "SKYPILOT_NUM_NODES": "2",
    "SKYPILOT_NUM_GPUS_PER_NODE": "8",
    "SKYPILOT_NODE_RANK": "0",
    "JOB_COMPLETION_INDEX": "0",
    "HEAD": "node1",
}
# How many commands of ours each file has: a search that finds nothing would pass every test.
COMMANDS = {
    "slurm/render.sbatch": 1,
    "slurm/finish.sbatch": 2,
    "slurm/pretrain.sbatch": 1,
    "slurm/submit.sh": 0,
    "ray/submit.sh": 1,
    "ray/cluster.yaml": 0,
    "kubernetes/render.yaml": 1,
    "kubernetes/finish.yaml": 2,
    "kubernetes/pretrain.yaml": 1,
    "skypilot/pipeline.yaml": 4,
}


def commands_in(text: str, variables: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the arguments of every ``smile-synth`` command of a shell script, variables replaced."""
    known = dict(variables)
    for line in text.replace("\\\n", " ").splitlines():
        known.update(re.findall(r"\b(\w+)=\$\{\w+:-([^}]*)\}", line))
        if line.lstrip().startswith("#"):
            continue
        line = re.sub(r'"\$\((?:dirname|basename) "\$\w+"\)"', "mine.yaml", line)
        line = re.sub(r"\$\{?(\w+)\}?", lambda found: known[found[1]] if found[1] in known else found[0], line)
        command = re.search(r"(?:^|\s)(?:smile-synth|-m smile_synth) (.*)", line)
        if command is not None:
            yield shlex.split(command[1])


def documents(file: Path) -> list[Any]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def commands_of(file: Path) -> list[list[str]]:
    if file.suffix != ".yaml":
        return list(commands_in(file.read_text(encoding="utf-8"), VARIABLES))
    found = []
    for document in documents(file):
        known = {**VARIABLES, **{key: str(value) for key, value in (document.get("envs") or {}).items()}}
        for words in _commands(document):
            found += list(commands_in(words if isinstance(words, str) else shlex.join(words), known))
    return found


def _commands(value: Any) -> Iterator[str | list[str]]:
    """Yield every shell script (``run``) and every list of arguments (``command``) of a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "run" and isinstance(inner, str):
                yield inner
            elif key == "command":
                yield inner[2] if inner[:2] == ["bash", "-c"] else inner
            else:
                yield from _commands(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _commands(inner)


def parse(arguments: list[str]) -> Any:
    """Parse arguments as the command line does, options, types and required values, without running anything."""
    assert not any("$" in word for word in arguments), arguments
    group: Any = typer.main.get_command(app)
    return group.commands[arguments[0]].make_context(arguments[0], arguments[1:])


def test_every_file_is_listed_and_linked() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert files - {"kubernetes/Dockerfile"} == set(COMMANDS)
    assert {f"cluster/{name}" for name in files} <= set(re.findall(r"\]\((cluster/[^)]+)\)", PAGE))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_a_file_parses(name: str) -> None:
    commands = commands_of(FOLDER / name)
    assert len(commands) == COMMANDS[name]
    for arguments in commands:
        context = parse(arguments)
        if arguments[0] == "pretrain":
            load_recipe(context.params["recipe"]).section("pretrain")


def test_every_command_on_the_page_parses() -> None:
    lines = re.findall(r"^\$ (.*)$", PAGE, flags=re.MULTILINE)
    commands = [arguments for line in lines for arguments in commands_in(line, {})]
    assert len(commands) == 10
    for arguments in commands:
        parse(arguments)


def test_a_wrong_option_would_be_found() -> None:
    (arguments,) = commands_in('smile-synth render "$RECIPE" --out x --shard auto', {"RECIPE": "demo"})
    with pytest.raises(Exception, match="No such option: --shard"):
        parse(arguments)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_that_stops_at_errors(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n")
    assert "\nset -euo pipefail\n" in text
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_batch_options_stand_before_the_first_command() -> None:
    for script in FOLDER.glob("slurm/*.sbatch"):
        head, _, body = script.read_text(encoding="utf-8").partition("set -euo pipefail")
        names = re.findall(r"^#SBATCH --([a-z-]+)=\S+$|^#SBATCH --(requeue)$", head, flags=re.MULTILINE)
        assert len(names) == head.count("#SBATCH") >= 6
        assert "#SBATCH" not in body


def jobs() -> Iterator[dict[str, Any]]:
    for file in sorted(FOLDER.glob("kubernetes/*.yaml")):
        yield from (document for document in documents(file) if document["kind"] == "Job")


def test_kubernetes_jobs_have_what_a_job_must_have() -> None:
    found = list(jobs())
    assert [job["metadata"]["name"] for job in found] == ["smile-finish", "smile-pretrain", "smile-render"]
    for job in found:
        assert job["apiVersion"] == "batch/v1"
        spec, pod = job["spec"], job["spec"]["template"]["spec"]
        assert pod["restartPolicy"] in ("Never", "OnFailure")
        if "podFailurePolicy" in spec:
            assert pod["restartPolicy"] == "Never", "Kubernetes refuses other policies with podFailurePolicy"
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["image"] == "smile-synth:0.1.0"
            assert all(isinstance(word, str) for word in container["command"])
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        if spec.get("completionMode") == "Indexed":
            assert spec["parallelism"] == spec["completions"]


def test_kubernetes_files_fit_the_schemas_of_kubernetes() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for file in FOLDER.glob("kubernetes/*.yaml"):
        for document in documents(file):
            validator.validate(document, validator.latest_version(), strict=True)


def test_an_indexed_job_gives_the_count_of_its_completions() -> None:
    (job,) = (job for job in jobs() if job["metadata"]["name"] == "smile-render")
    (command,) = commands_of(FOLDER / "kubernetes" / "render.yaml")
    count = job["spec"]["completions"]
    assert parse(command).params["shards"] == f"auto/{count}"
    parts = {find_place({"JOB_COMPLETION_INDEX": str(index)}, count).place for index in range(count)}
    assert parts == set(range(1, count + 1))


def test_skypilot_tasks_follow_each_other() -> None:
    head, *tasks = documents(FOLDER / "skypilot" / "pipeline.yaml")
    assert head == {"name": "smile-synth"}
    assert [task["name"] for task in tasks] == ["render", "finish", "pretrain"]
    for task in tasks:
        assert set(task) <= {"name", "num_nodes", "workdir", "envs", "resources", "setup", "run", "file_mounts"}
        assert task["envs"]["STORE"] == "s3://your-bucket/mine.zarr"
        for script in (task["setup"], task["run"]):
            done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


def test_the_ray_cluster_fits_the_schema_of_ray() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    ray = pytest.importorskip("ray")
    file = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    (cluster,) = documents(FOLDER / "ray" / "cluster.yaml")
    jsonschema.validate(cluster, json.loads(file.read_text(encoding="utf-8")))
    assert cluster["available_node_types"][cluster["head_node_type"]]["resources"] == {"CPU": 0}


SBATCH = """#!{python}
# Runs at once what Slurm would put in a queue: every task of an array, one after the other.
import os, re, subprocess, sys
*options, script = sys.argv[1:]
given = " ".join(options)
array = re.search(r"--array=(\\d+)-(\\d+)", given) or re.search(r"--array=(\\d+)-(\\d+)", open(script).read())
first, last = map(int, array.groups()) if array else (0, 0)
for number in range(first, last + 1):
    names = dict(ID=number, MIN=first, MAX=last, STEP=1, COUNT=last - first + 1) if array else dict()
    task = {{f"SLURM_ARRAY_TASK_{{name}}": str(value) for name, value in names.items()}}
    step = dict(SLURM_CPUS_PER_TASK="1", SLURM_NNODES="1", SLURM_GPUS_ON_NODE="1", SLURM_JOB_ID="7")
    step["SLURM_JOB_NODELIST"] = "127.0.0.1"
    subprocess.run(["bash", script], env={{**os.environ, **task, **step}}, check=True, stdout=sys.stderr)
print(os.path.basename(script))
"""


@pytest.mark.slow
def test_the_slurm_scripts_render_finish_and_pretrain(tmp_path: Path) -> None:
    """With stand-ins for sbatch, srun and scontrol; docs/cluster.md says what ran under a real Slurm."""
    tools = {
        "sbatch": SBATCH.format(python=sys.executable),
        "scontrol": "#!/bin/bash\necho 127.0.0.1\n",
        "srun": '#!/bin/bash\nexec "$@"\n',
        "torchrun": f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n',
        "smile-synth": f'#!/bin/bash\nexec {sys.executable} -m smile_synth "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in tools.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(stat.S_IRWXU)
    (tmp_path / "mine.yaml").write_text(
        "extends: demo\ndataset: {clips: 96, store: {clips_per_shard: 16}}\n"
        "pretrain: {max_steps: 4, batch_size: 32, optimizer: {warmup_steps: 1}, checkpoint: {every_steps: 2}}\n"
    )
    names = {"RECIPE": "mine.yaml", "MODEL": "mine.yaml", "STORE": "mine.zarr", "RUN": "run", "TASKS": "3"}
    environment = {**os.environ, **names, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    submit = FOLDER / "slurm" / "submit.sh"
    done = subprocess.run(["bash", submit], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "render render.sbatch, finish finish.sbatch, pretrain pretrain.sbatch\n"
    assert "4 of 4 updates" in done.stderr
    alone = [sys.executable, "-m", "smile_synth", "render", "mine.yaml", "--out", "alone.zarr", "--workers", "0"]
    subprocess.run(alone, cwd=tmp_path, capture_output=True, check=True)
    assert tree(tmp_path / "mine.zarr") == tree(tmp_path / "alone.zarr")
