"""The pipelines as Prefect flows, for their deployments: `flows.ingest.deployed:ingest`."""

from flows.ingest import flow
from larder.orchestration.flow import flow_of

ingest = flow_of(flow.ingest)
