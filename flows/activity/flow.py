"""The pipeline: sources → transforms → analytics → exports → publish."""

from collections.abc import Callable, Sequence
from pathlib import Path

from flows.activity.definitions import FOLDER, stage_of
from flows.activity.report import sources_section
from flows.activity.schema import Configuration
from flows.activity.stages import analytics, exports, sources, transforms
from flows.activity.stages.pages import Pages
from flows.activity.stages.sources import Reading
from larder.action import action
from larder.configuration import Configurations
from larder.pipeline import pipeline
from larder.published import PUBLISH_FOLDER, PublishedFolder
from larder.report import Report
from larder.stage import Pending

publish = action(PUBLISH_FOLDER)

CONFIGURATIONS = Configurations(
    pipeline="activity", folder=Path(__file__).parent / "configuration", model=Configuration
)


@pipeline(name="activity", run_name="activity", report=Report(sources_section), configurations=CONFIGURATIONS)
def activity(configuration: Configuration, refresh: Sequence[str] | None = None) -> PublishedFolder:
    """Make CSV files of what users of an API posted, executing only what is not finished yet.

    Args:
        configuration: which API is read, and within which limits
        refresh: the sources to ask for what is new; the others stay what was read last. All where not given
    """
    asked = configuration.names(refresh)

    def read(function: Callable[..., Pages]) -> Pending[Pages]:
        name = function.__name__
        reading = Reading(limits=configuration.limits, refresh=name in asked)
        return stage_of(function).submit(configuration.source(name), reading=reading)

    users = stage_of(transforms.clean_users).submit(read(sources.users))
    posts = stage_of(transforms.clean_posts).submit(read(sources.posts))
    enriched = stage_of(transforms.enrich_posts).submit(posts, users)

    stats = stage_of(analytics.user_activity).submit(users, posts)
    authors = stage_of(analytics.top_authors).submit(stats)
    totals = stage_of(analytics.summary).submit(users, posts, enriched)

    files = {
        "users.csv": stage_of(exports.users).submit(users),
        "posts_enriched.csv": stage_of(exports.posts_enriched).submit(enriched),
        "user_stats.csv": stage_of(exports.user_stats).submit(stats),
        "top_authors.csv": stage_of(exports.top_authors).submit(authors),
        "summary.csv": stage_of(exports.summary).submit(totals),
    }
    return publish(FOLDER, {name: written.file for name, written in files.items()}, {})
