"""The API of made-up users and posts that comes with the repository."""

import httpx

from flows.activity.sample_server import Fault, SampleApi, serving
from flows.activity.samples import made_up_posts, made_up_users


def test_users_and_posts_are_made_up_the_same_every_time() -> None:
    assert made_up_users(30) == made_up_users(30)
    assert made_up_posts(30, 5) == made_up_posts(30, 5)
    users = {user["id"] for user in made_up_users(12)}
    authors = {post["userId"] for post in made_up_posts(120, 12)}
    assert authors < users


def test_pages_follow_each_other_and_say_their_version() -> None:
    with serving(SampleApi()) as url, httpx.Client() as client:
        page = client.get(f"{url}/posts", params={"per_page": 50})
        again = client.get(page.url, headers={"If-None-Match": page.headers["ETag"]})
        since = client.get(page.url, headers={"If-Modified-Since": page.headers["Last-Modified"]})
        numbers = [len(page.json())]
        while "next" in page.links:
            page = client.get(page.links["next"]["url"])
            numbers.append(len(page.json()))
    assert numbers == [50, 50, 20]
    assert (again.status_code, since.status_code, again.content) == (304, 304, b"")


def test_faults_come_as_often_as_they_are_told_to() -> None:
    api = SampleApi()
    with serving(api) as url, httpx.Client() as client:
        api.fail(Fault.UNAVAILABLE, times=2, path="/users")
        statuses = [client.get(f"{url}/{path}").status_code for path in ("posts", "users", "users", "users")]
    assert statuses == [200, 503, 503, 200]
