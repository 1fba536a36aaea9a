"""The pipeline and its compaction as Prefect flows, for their deployments."""

from flows.stream_writer import flow
from larder.orchestration.flow import flow_of

stream_writer = flow_of(flow.stream_writer)
stream_compaction = flow_of(flow.stream_compaction)
