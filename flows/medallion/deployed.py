"""The pipeline as a Prefect flow, for its deployment: `flows.medallion.deployed:medallion`."""

from flows.medallion import flow
from larder.orchestration.flow import flow_of

medallion = flow_of(flow.medallion)
