"""The pipeline as a Prefect flow, for its deployments: `flows.activity.deployed:activity`."""

from flows.activity import flow
from larder.orchestration.flow import flow_of

activity = flow_of(flow.activity)
