"""Transforms: what came from the API as tables that people can use."""

from pathlib import Path

from flows.activity.stages.pages import Pages
from flows.activity.stages.records import Record, Text, WholeNumber, checked, table_of, unique
from flows.tables.model import model
from flows.tables.sql_model import Model
from flows.tables.table import Table


class User(Record):
    """A user as the API has it."""

    name: Text
    username: Text | None = None
    email: Text | None = None
    phone: Text | None = None
    website: Text | None = None


class Post(Record):
    """A post as the API has it."""

    userId: WholeNumber  # noqa: N815
    title: Text
    body: Text


def clean_users(pages: Pages, scratch: Path) -> Table:
    """Users with their e-mail in lower case, and their name as `full_name` too.

    Raises:
        RecordError: a record is no user.
    """
    columns = {
        "id": "BIGINT",
        "name": "VARCHAR",
        "username": "VARCHAR",
        "email": "VARCHAR",
        "phone": "VARCHAR",
        "website": "VARCHAR",
        "full_name": "VARCHAR",
    }
    users, warnings = unique(checked(pages, User))
    rows = (
        user.model_dump() | {"email": user.email and user.email.lower(), "full_name": user.name}
        for user in users
    )
    return table_of("users", columns, rows, warnings, scratch)


def clean_posts(pages: Pages, scratch: Path) -> Table:
    """Posts without space around title and body, and the lengths of both in characters.

    Raises:
        RecordError: a record is no post.
    """
    columns = {
        "userId": "BIGINT",
        "id": "BIGINT",
        "title": "VARCHAR",
        "body": "VARCHAR",
        "title_length": "BIGINT",
        "body_length": "BIGINT",
    }
    posts, warnings = unique(checked(pages, Post))
    stripped = (
        post.model_copy(update={"title": post.title.strip(), "body": post.body.strip()}) for post in posts
    )
    rows = (
        post.model_dump() | {"title_length": len(post.title), "body_length": len(post.body)}
        for post in stripped
    )
    return table_of("posts", columns, rows, warnings, scratch)


def enrich_posts(posts: Table, users: Table, scratch: Path) -> Table:
    """Every post with name and e-mail of its author; both are null where there is no such user."""
    sql = """
        select posts.userId,
               posts.id as id_post,
               posts.title,
               posts.body,
               posts.title_length,
               posts.body_length,
               users.id as id_user,
               users.name as author_name,
               users.email as author_email
        from (select *, row_number() over () as position from posts) as posts
        left join users on users.id = posts.userId
        order by posts.position
    """
    return model("posts_enriched", Model(sql=sql), {"posts": posts, "users": users}, scratch=scratch)
