"""The pipeline as a Prefect flow, for its deployments: `flows.stream_writer.deployed:stream_writer`."""

from flows.stream_writer import flow
from larder.orchestration.flow import flow_of

stream_writer = flow_of(flow.stream_writer)
