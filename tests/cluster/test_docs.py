from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from spoofcheck.cluster.places import SCHEMES
from spoofcheck.tables import TableForm, table_bytes
from tests.support.documents import sample_document

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "cluster.md").read_text(encoding="utf-8")
QUERIES = [
    query for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) for query in block.split(";") if query.strip()
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("result") / "result.duckdb"
    path.write_bytes(table_bytes(sample_document(), TableForm.DUCKDB))
    return path


@pytest.mark.parametrize("query", QUERIES)
def test_the_page_s_queries_run(database: Path, query: str) -> None:
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(query).fetchall()
    assert rows or "HAVING" in query


def test_the_page_names_every_scheme() -> None:
    assert {scheme for scheme in SCHEMES if f"`{scheme}://`" not in PAGE} == set()


def test_the_cluster_is_one_that_ray_starts() -> None:
    ray = pytest.importorskip("ray")
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    schema = Path(ray.__file__).parent / "autoscaler/ray-schema.json"
    config = yaml.safe_load((DOCS / "cluster/aws-spot.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(config, json.loads(schema.read_text(encoding="utf-8")))
    assert config["head_node_type"] in config["available_node_types"]
    assert config["available_node_types"]["gpu"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    started = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0" in each for each in started if "ray start" in each)
