"""Analytics: what users did, in numbers."""

from pathlib import Path

from flows.tables.model import model
from flows.tables.sql_model import Model
from flows.tables.table import Table

MOST_AUTHORS = 10


def user_activity(users: Table, posts: Table, scratch: Path) -> Table:
    """How many posts each user wrote, and how many characters their bodies have on average; 0 where none."""
    sql = """
        select users.id,
               users.name,
               users.email,
               coalesce(written.post_count, 0) as post_count,
               coalesce(round_even(written.body_length / written.post_count, 2), 0) as avg_post_length
        from (select *, row_number() over () as position from users) as users
        left join (
            select userId, count(*) as post_count, sum(body_length) as body_length
            from posts group by userId
        ) as written on written.userId = users.id
        order by users.position
    """
    return model("user_activity", Model(sql=sql), {"users": users, "posts": posts}, scratch=scratch)


def top_authors(activity: Table, scratch: Path) -> Table:
    """The ten users with most posts, most first; of two with as many, the one with the smaller id."""
    sql = f"select * from activity order by post_count desc, id limit {MOST_AUTHORS}"  # noqa: S608
    return model("top_authors", Model(sql=sql), {"activity": activity}, scratch=scratch)


def summary(users: Table, posts: Table, enriched: Table, scratch: Path) -> Table:
    """One row for all: how many users, posts, and posts whose author is known; and averages, 0 of nothing."""
    sql = """
        select total_users,
               total_posts,
               total_enriched,
               coalesce(round_even(total_posts / nullif(total_users, 0), 2), 0) as avg_posts_per_user,
               coalesce(round_even(title_length / nullif(total_posts, 0), 2), 0) as avg_title_length,
               coalesce(round_even(body_length / nullif(total_posts, 0), 2), 0) as avg_body_length
        from (select count(*) as total_users from users),
             (
                 select count(*) as total_posts,
                        sum(title_length) as title_length,
                        sum(body_length) as body_length
                 from posts
             ),
             (select count(id_user) as total_enriched from enriched)
    """
    tables = {"users": users, "posts": posts, "enriched": enriched}
    return model("summary", Model(sql=sql), tables, scratch=scratch)
