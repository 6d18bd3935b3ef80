"""Fixtures: a durable server of each test's own, and the service that uses it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs
from ..support.postgresql import INSTALLED, Cluster, running_cluster
from .service import Service


@pytest.fixture
def cluster(needs: Needs) -> Iterator[Cluster]:
    """A server that a test may stop. It keeps what it has acknowledged."""
    needs(also=INSTALLED, reason="not installed: postgresql")
    with running_cluster() as cluster:
        cluster.execute("CREATE ROLE service LOGIN")
        cluster.execute("CREATE DATABASE service OWNER service")
        yield cluster


@pytest.fixture
def service(cluster: Cluster, generated: Generate, tmp_path: Path) -> Iterator[Service]:
    """The default service with Gunicorn, not yet started and migrated."""
    url = cluster.url("service", user="service")
    service = Service(generated(database="postgresql"), tmp_path, url)
    yield service
    service.stop()
