"""The pipeline as a Prefect flow, for its deployment: `flows.build.deployed:build`."""

from flows.build import flow
from larder.orchestration.flow import flow_of

build = flow_of(flow.build)
