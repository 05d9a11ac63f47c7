"""BANKING77: which of 77 intents has the customer? (Casanueva et al., 2020)

A folder of train.csv, validation.csv and test.csv with the header text,category.
"""

import dataclasses

from lmtasks.data import sources
from lmtasks.tasks import classification

# The intents are found in the training split: all 77 occur there.
TASK = dataclasses.replace(
    classification.TASK,
    source=sources.Source(
        files={"*": "{split}.csv"},
        fields={"text": "text", "label": "category"},
    ),
    prompt="Customer: {text} Intent:",
    samples=(
        {"text": "My new card has not come yet", "label": "card_arrival"},
        {"text": "Is there a fee for euros?", "label": "exchange_charge"},
        {"text": "Where is the card I ordered?", "label": "card_arrival"},
        {"text": "What does changing money cost?", "label": "exchange_charge"},
    ),
)
