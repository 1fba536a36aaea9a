"""Made-up countries, customers, products and orders, whose foreign keys hold; the same for the same seed."""

import csv
import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

CUSTOMERS, PRODUCTS, ORDERS = 200, 40, 1200
FIRST_DAY = date(2025, 1, 1)
COUNTRIES = {
    "AT": ("Austria", "Europe"),
    "BR": ("Brazil", "South America"),
    "CA": ("Canada", "North America"),
    "DE": ("Germany", "Europe"),
    "FR": ("France", "Europe"),
    "GB": ("United Kingdom", "Europe"),
    "IN": ("India", "Asia"),
    "JP": ("Japan", "Asia"),
    "MX": ("Mexico", "North America"),
    "NG": ("Nigeria", "Africa"),
    "US": ("United States", "North America"),
    "ZA": ("South Africa", "Africa"),
}
FIRST_NAMES = ("Ada", "Ben", "Chidi", "Dora", "Emil", "Farah", "Goro", "Hana", "Iris", "Juan", "Kai", "Lena")
LAST_NAMES = (
    "Abara",
    "Berg",
    "Costa",
    "Dubois",
    "Ekman",
    "Fox",
    "Gupta",
    "Hall",
    "Ito",
    "Jones",
    "Khan",
    "Lima",
)
GOODS = ("Lamp", "Desk", "Chair", "Shelf", "Clock", "Kettle", "Mirror", "Carpet")
CATEGORIES = ("Home", "Kitchen", "Office")
TIERS = ("gold", "silver", "bronze")
STATUSES = ("delivered", "shipped", "pending", "cancelled")
Row = dict[str, Any]


def write_samples(folder: Path, seed: int = 1) -> dict[str, list[Path]]:
    """Write the files of each job of the workflow `customer-data` below a folder.

    Some e-mails are missing or have space and capitals, some tiers are missing, some orders have no quantity,
    and some come again in the second file with another status.
    """
    made = random.Random(seed)  # noqa: S311
    customers, products = _customers(made), _products(made)
    orders = _orders(made, customers, products)
    later = [{**order, "order_status": "delivered"} for order in orders[: ORDERS // 20]]
    half = len(orders) // 2
    return {
        "countries": [_json(folder / "countries" / "countries.json", _countries())],
        "customers": [_csv(folder / "customers" / "customers.csv", customers)],
        "products": [_xlsx(folder / "products" / "products.xlsx", products)],
        "orders": [
            _csv(folder / "orders" / "orders-1.csv", orders[:half]),
            _csv(folder / "orders" / "orders-2.csv", orders[half:] + later),
        ],
    }


def _countries() -> list[Row]:
    return [
        {"country_code": code, "country_name": name, "continent": continent}
        for code, (name, continent) in COUNTRIES.items()
    ]


def _customers(made: random.Random) -> list[Row]:
    rows = []
    for number in range(1, CUSTOMERS + 1):
        first, last = made.choice(FIRST_NAMES), made.choice(LAST_NAMES)
        email = f"{first}.{last}.{number}@example.com"
        email = made.choice((email.lower(), email.lower(), email.upper(), f" {email}", ""))
        rows.append(
            {
                "customer_id": number,
                "first_name": first,
                "last_name": last,
                "email": email,
                "country_code": made.choice(list(COUNTRIES)),
                "loyalty_tier": made.choice((*TIERS, *TIERS, "N/A")),
                "registration_date": _day(made),
            }
        )
    return rows


def _products(made: random.Random) -> list[Row]:
    return [
        {
            "product_id": f"P{number:04}",
            "product_name": f"{made.choice(GOODS)} {number}",
            "category": made.choice(CATEGORIES),
            "price": made.randrange(500, 50_000) / 100,
            "stock_quantity": made.randrange(500),
        }
        for number in range(1, PRODUCTS + 1)
    ]


def _orders(made: random.Random, customers: Sequence[Row], products: Sequence[Row]) -> list[Row]:
    rows = []
    for number in range(1, ORDERS + 1):
        product = made.choice(products)
        rows.append(
            {
                "order_id": f"ORD{number:06}",
                "customer_id": made.choice(customers)["customer_id"],
                "product_id": product["product_id"],
                "order_date": _day(made),
                "quantity": 0 if made.random() < 0.01 else made.randrange(1, 6),
                "unit_price": product["price"],
                "order_status": made.choice(STATUSES),
            }
        )
    return rows


def _day(made: random.Random) -> str:
    return (FIRST_DAY + timedelta(days=made.randrange(365))).isoformat()


def _csv(file: Path, rows: Sequence[Row]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def _json(file: Path, rows: Sequence[Row]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return file


def _xlsx(file: Path, rows: Sequence[Row]) -> Path:
    import xlsxwriter

    file.parent.mkdir(parents=True, exist_ok=True)
    with xlsxwriter.Workbook(str(file)) as book:
        book.set_properties({"created": datetime(2025, 1, 1, tzinfo=UTC)})
        sheet = book.add_worksheet("Products")
        for at, row in enumerate([list(rows[0]), *(list(one.values()) for one in rows)]):
            sheet.write_row(at, 0, row)
    return file
