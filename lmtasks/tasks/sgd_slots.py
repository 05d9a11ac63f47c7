"""Schema-Guided Dialogue: what a user says, as slots. (Rastogi et al., 2020)

The published files: folders train, validation and test of dialogues_*.json, each also
.gz. Where validation is called dev:
config.data.files.validation="dev/dialogues_*.json". Each turn of a user is a text, the
values marked in it its record: slot -> list of values, {} where none is marked. Written
under the schema of all slots.
"""

import dataclasses
import json
from collections.abc import Iterator

from lmtasks.data import examples
from lmtasks.data import json_readers
from lmtasks.data import readers
from lmtasks.data import sources
from lmtasks.tasks import base
from lmtasks.tasks import extraction

# Whose values are marked in what users say.
_NAMES = """
address address_of_location album amount appointment_date appointment_time
approximate_ride_duration area artist attraction_name available_end_time
available_start_time average_rating car_name category check_in_date check_out_date
city city_of_event cuisine date dentist_name departure_date departure_time destination
destination_airport destination_city destination_station_name directed_by director
doctor_name dropoff_date event_date event_location event_name event_time fare
from_location from_station genre hotel_name humidity inbound_arrival_time
inbound_departure_time leaving_date leaving_time location movie_name new_alarm_name
new_alarm_time number_of_days origin origin_airport origin_city origin_station_name
outbound_arrival_time outbound_departure_time phone_number pickup_city pickup_date
pickup_location pickup_time precipitation price price_per_night property_name rating
recipient_account_name recipient_name rent restaurant_name return_date ride_fare
show_date show_time song_name starring stay_length street_address stylist_name
subcategory temperature theater_name therapist_name time title to_location to_station
total_price transfer_amount venue venue_address visit_date wait_time where_to wind
"""
SLOTS = tuple(_NAMES.split())
_VALUES = {"type": "array", "items": {"type": "string"}}
SCHEMA = json.dumps({"type": "object", "properties": dict.fromkeys(SLOTS, _VALUES)})


def read(path: str) -> Iterator[readers.Row]:
    """Yield {"text", "record"} of each turn of a user, numbered by dialogue."""
    for number, dialogue in json_readers.json_list(path):
        if isinstance(dialogue, readers.Bad):
            yield number, dialogue
            continue
        for turn in dialogue["turns"]:
            if turn["speaker"] == "USER":
                yield number, {"text": turn["utterance"], "record": marked(turn)}


def marked(turn: dict) -> dict[str, list[str]]:
    """Return slot -> the values marked in a turn, slots in alphabetical order."""
    found: dict[str, list[str]] = {}
    for frame in turn["frames"]:
        for slot in frame["slots"]:
            value = turn["utterance"][slot["start"] : slot["exclusive_end"]]
            values = found.setdefault(slot["slot"], [])
            if value not in values:
                values.append(value)
    return dict(sorted(found.items()))


def example(record: base.Record) -> examples.Turns:
    """Return what the user says as the prompt, its slots as the reply."""
    return extraction.example(record)


TASK = dataclasses.replace(
    extraction.TASK,
    source=sources.Source(files={"*": "{split}/dialogues_*.json"}, read=read),
    example=example,
    decode={"json_schema": SCHEMA, "max_tokens": 128},
    samples=(
        {"text": "A table in Turin, please.", "record": {"city": ["Turin"]}},
        {
            "text": "Is there Thai or Greek food in Oslo?",
            "record": {"city": ["Oslo"], "cuisine": ["Thai", "Greek"]},
        },
        {"text": "Yes, that sounds good.", "record": {}},
    ),
)
