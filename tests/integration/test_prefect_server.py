"""`prefect deployment run train-aals`, typed exactly so, against a real server and worker."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
N_POSITIVE, N_BOXED, N_NEGATIVE = 24, 16, 30
SIZE_PX = 64
START_S, RUN_S = 400, 400


@dataclass(frozen=True)
class Installation:
    """A home, a server and a worker of its own."""

    home: Path
    api_url: str
    environment: dict[str, str]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command typed in the repository, where prefect.toml lies."""
        return subprocess.run(
            [PROGRAMS / arguments[0], *arguments[1:]],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
        )

    def ask(self, path: str, **body: object) -> list[dict[str, object]]:
        """The server's answer to a POST."""
        answer = httpx.post(f"{self.api_url}/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api_url = f"http://127.0.0.1:{port}/api"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "RIBLINE_"))
    } | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": api_url,
        "RIBLINE_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
    }
    installed = Installation(folder / "home", api_url, environment)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        server = ("server", "start", "--host", "127.0.0.1", "--port", str(port))
        processes.append(start(installed, folder / "server.log", *server))
        make_home(installed, folder / "nih")
        wait_for(lambda: is_answering(api_url, "health"), START_S, folder / "server.log")
        worker = ("worker", "start", "--pool", "ribline", "--type", "process")
        processes.append(start(installed, folder / "worker.log", *worker))
        pool = "work_pools/ribline"
        wait_for(lambda: is_answering(api_url, pool), START_S, folder / "worker.log")
        deployed = installed.command("prefect", "deploy", "--all")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield installed
    finally:
        for process in reversed(processes):
            stop(process)


def test_bare_name_trains_and_sql_finds_the_evaluation(installation: Installation) -> None:
    done = installation.command("prefect", "deployment", "run", "train-aals")
    assert done.returncode == 0, done.stdout + done.stderr
    state = wait_for(lambda: finished_state(installation), RUN_S, installation.home / "no.log")
    assert state == "COMPLETED"
    query = "SELECT run_id, metric, value FROM evaluation_reports WHERE metric = 'auroc'"
    answer = installation.command("ribline", "sql", query, "--format", "json")
    rows = json.loads(answer.stdout)
    assert {row["run_id"].split("-")[0] for row in rows} == {"supervised", "aals"}
    assert all(0 <= row["value"] <= 1 for row in rows)
    check_artifacts(installation, run_ids={row["run_id"] for row in rows})
    check_run(installation)


def check_artifacts(installation: Installation, *, run_ids: set[str]) -> None:
    """The results stand in a table and in a markdown artifact; the report lies in the home."""
    artifacts = {str(each["key"]): each for each in installation.ask("artifacts/filter")}
    table = json.loads(str(artifacts["train-aals-results"]["data"]))
    assert run_ids <= {row["run"] for row in table}
    markdown = str(artifacts["train-aals-report"]["data"])
    report = next(line for line in markdown.splitlines() if line.startswith("Report")).split("`")
    assert (installation.home / report[1]).is_file()


def is_json(path: Path) -> bool:
    """True where a result file is JSON all through, its serialised result included."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict) and isinstance(record.get("result"), str):
            json.loads(record["result"])
    except ValueError:
        return False
    return True


def check_run(installation: Installation) -> None:
    """The run says what ran, results are JSON, and no path or secret travelled."""
    (run,) = installation.ask(
        "flow_runs/filter", flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}}
    )
    assert run["name"] == "aals, fold 0, seed 0, recipe nih"
    assert run["parameters"] == {"fold": 0, "method": "aals"}
    results = [*Path(installation.environment["PREFECT_HOME"], "storage").iterdir()]
    assert results
    assert all(is_json(path) for path in results), "a result was pickled"


def test_full_name_is_accepted_too(installation: Installation) -> None:
    done = installation.command(
        *("prefect", "deployment", "run", "train-aals/train-aals", "--start-in", "1 day")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Created flow run" in done.stdout


def test_deployments_and_the_nightly_schedule(installation: Installation) -> None:
    deployments = {str(each["name"]): each for each in installation.ask("deployments/filter")}
    assert set(deployments) == {"nightly-relabel", "train-aals", "evaluate-run", "cross-validate"}
    (schedule,) = deployments["nightly-relabel"]["schedules"]  # type: ignore[misc]
    assert schedule["active"]  # type: ignore[index]
    assert schedule["schedule"]["cron"] == "30 1 * * *"  # type: ignore[index]
    assert all(str(each["entrypoint"]).startswith("flows.") for each in deployments.values())


def make_home(installation: Installation, folder: Path) -> None:
    """A home with a cohort of tiny films, imported as a public dataset."""
    write_public_dataset(folder)
    installation.home.mkdir()
    (installation.home / "ribline.toml").write_text(
        'recipe = "nih"\nsize_px = 64\nn_bootstrap = 100\n[recipe_overrides]\nn_epochs = 1\n'
        "image_size_px = 64\nbatch_size = 8\nn_cpu_threads = 1\n"
    )
    done = installation.command(
        *("ribline", "import-public", "nih-chestxray14", str(folder), "--finding", "Pneumonia")
    )
    assert done.returncode == 0, done.stdout + done.stderr


def write_public_dataset(folder: Path) -> None:
    """Films in the published form of NIH ChestX-ray14; a bright square is the finding."""
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    entries: list[list[object]] = []
    boxes: list[list[object]] = []
    for number in range(N_POSITIVE + N_NEGATIVE):
        name = f"{number:08d}_000.png"
        film = generator.integers(60, 120, (SIZE_PX, SIZE_PX), dtype=np.uint8)
        is_positive = number < N_POSITIVE
        if is_positive:
            x, y = generator.integers(4, 44, 2)
            film[y : y + 16, x : x + 16] = 240
            if number < N_BOXED:
                scale = 1024 / SIZE_PX
                boxes.append([name, "Pneumonia", x * scale, y * scale, 16 * scale, 16 * scale])
        cv2.imwrite(str(folder / "images" / name), film)
        finding = "Pneumonia" if is_positive else "No Finding"
        entries.append([name, finding, 0, number, 50, "F", "PA", SIZE_PX, SIZE_PX, 0.5, 0.5])
    heading = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
    heading += "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    write_csv(folder / "Data_Entry_2017.csv", heading, entries)
    write_csv(folder / "BBox_List_2017.csv", "Image Index,Finding Label,Bbox [x,y,w,h],,,", boxes)


def write_csv(path: Path, heading: str, rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        file.write(heading + "\n")
        csv.writer(file).writerows(rows)


def start(installation: Installation, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `prefect ARGUMENTS` in a process group of its own."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [PROGRAMS / "prefect", *arguments],
            cwd=REPOSITORY,
            env=installation.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process group that this test started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def is_answering(api_url: str, path: str) -> bool:
    try:
        return httpx.get(f"{api_url}/{path}", timeout=5).is_success
    except httpx.HTTPError:
        return False


def finished_state(installation: Installation) -> str | None:
    """The state of the run that ended, or None."""
    runs = installation.ask("flow_runs/filter")
    states = {str(run["state_type"]) for run in runs} & {"COMPLETED", "FAILED", "CRASHED"}
    return min(states) if states else None


def wait_for(ask: Callable[[], object], limit_s: float, log: Path) -> object:
    """Wait until a question has an answer; a late one fails with the end of the log."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.5)
    end = log.read_text()[-2000:] if log.is_file() else ""
    pytest.fail(f"nothing within {limit_s} s\n{end}")
