"""How the stories are told: situations, and for each thing that can happen in them several sentences.

Data only. The slots: `{n}` who it is about, `{P}`/`{p}`/`{h}`/`{s}` he, him and his in the right form, `{o}` somebody
else, `{i}` the things counted, `{x}` a number, `{a}` groups of `{b}`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TemplateVariants:
    """Sentences that say the same."""

    taught: tuple[str, ...]
    """Those the model is trained on."""
    unseen: tuple[str, ...]
    """Those kept for the test split: never trained on."""


@dataclass(frozen=True)
class StorySituation:
    """A world in which one number goes up and down."""

    things: tuple[str, ...]
    """What is counted."""
    opening: TemplateVariants
    """States the first number."""
    events: dict[str, TemplateVariants]
    """What can happen -> its sentences."""
    question: TemplateVariants
    """Asks for the number at the end."""
    endings: tuple[str, ...] = ()
    """How a story may end with more than the question: `compared`, `together` or `priced`."""


NAMES = {
    "she": ("Anna", "Maria", "Lucy", "Emma", "Nora", "Sara", "Julia", "Kate", "Olga", "Mei", "Rosa", "Ella"),
    "he": ("Tom", "Ben", "Omar", "Paul", "Max", "Leo", "Sam", "Ivan", "Jack", "Hugo", "Ravi", "Dan"),
}
PRONOUNS = {"she": ("She", "she", "her", "her"), "he": ("He", "he", "him", "his")}

_THINGS = StorySituation(
    things=("marbles", "stickers", "pencils", "cards", "shells", "coins", "stamps", "beads", "balloons", "buttons"),
    opening=TemplateVariants(
        (
            "{n} has {x} {i}.",
            "{n} starts with {x} {i}.",
            "There are {x} {i} in the box of {n}.",
            "{n} owns {x} {i}.",
            "At first {n} has {x} {i}.",
            "{n} keeps {x} {i} in a bag.",
            "In a drawer {n} finds {x} {i}.",
            "{n} and {s} {x} {i} go to school.",
        ),
        ("In the bag of {n} there are {x} {i}.", "At school {n} has {x} {i}."),
    ),
    events={
        "gain": TemplateVariants(
            (
                "{P} buys {x} more.",
                "{o} gives {h} {x} {i}.",
                "{P} finds {x} more {i}.",
                "Then {p} gets {x} more from {o}.",
                "{P} wins {x} {i} in a game.",
                "{P} receives {x} {i} for {s} birthday.",
                "A friend adds {x} {i}.",
                "Later {n} picks up {x} {i}.",
            ),
            ("Later {p} wins {x} more.", "Then {n} buys {x} {i}."),
        ),
        "lose": TemplateVariants(
            (
                "{P} gives {x} to {o}.",
                "{P} loses {x} of them.",
                "{o} takes {x} {i}.",
                "Then {x} {i} are lost.",
                "{P} sells {x} {i} to a friend.",
                "{P} throws {x} old {i} away.",
                "{x} of the {i} break.",
                "Later {n} hands {x} {i} to {o}.",
            ),
            ("Then {p} loses {x} {i}.", "Later {n} gives {x} of them to a friend."),
        ),
        "gain groups": TemplateVariants(
            (
                "{P} buys {a} packs of {b} {i}.",
                "{o} brings {a} boxes with {b} {i} each.",
                "{P} gets {b} {i} from each of {a} friends.",
                "On each of {a} days {p} finds {b} more.",
            ),
            ("{P} finds {a} boxes of {b} {i}.",),
        ),
        "lose groups": TemplateVariants(
            (
                "{P} gives {b} {i} to each of {a} friends.",
                "{P} sells {a} packs of {b} {i}.",
                "On each of {a} days {p} loses {b}.",
                "{P} fills {a} bags with {b} {i} each and gives them away.",
            ),
            ("{P} gives away {a} packs of {b} {i}.",),
        ),
        "double": TemplateVariants(
            ("Then {p} doubles {s} {i}.", "The next day {p} has twice as many.", "The number of {i} doubles."),
            ("Later the number of {s} {i} doubles.",),
        ),
        "times": TemplateVariants(
            ("A week later {p} has {x} times as many.", "The number of {i} grows to {x} times as many."),
            ("Later {p} has {x} times as many {i}.",),
        ),
        "half": TemplateVariants(
            ("{P} gives half of them to {o}.", "Half of the {i} are lost.", "{P} sells half of {s} {i}."),
            ("Then {p} loses half of them.",),
        ),
        "share": TemplateVariants(
            (
                "{P} shares them equally among {x} bags and keeps one bag.",
                "{P} splits the {i} into {x} equal piles and keeps one pile.",
            ),
            ("{P} shares the {i} equally among {x} boxes and keeps one box.",),
        ),
    },
    question=TemplateVariants(
        (
            "How many {i} does {n} have now?",
            "How many {i} are left?",
            "How many {i} does {n} have in the end?",
            "What is the number of {i} now?",
        ),
        ("What number of {i} does {n} have now?",),
    ),
    endings=("compared", "together", "priced"),
)

_MONEY = StorySituation(
    things=("dollars", "euros", "pounds"),
    opening=TemplateVariants(
        (
            "{n} has {x} {i}.",
            "{n} saved {x} {i}.",
            "There are {x} {i} in the purse of {n}.",
            "{n} starts the day with {x} {i}.",
            "{n} has {x} {i} in the bank.",
        ),
        ("{n} starts with {x} {i} in the purse.",),
    ),
    events={
        "gain": TemplateVariants(
            (
                "{P} earns {x} {i}.",
                "{P} is paid {x} {i} for a job.",
                "{o} gives {h} {x} {i}.",
                "{P} finds {x} {i} in a coat.",
                "{P} sells a toy for {x} {i}.",
            ),
            ("Then {o} pays {h} {x} {i} for a toy.",),
        ),
        "lose": TemplateVariants(
            (
                "{P} pays {x} {i} for a book.",
                "{P} spends {x} {i} on lunch.",
                "{P} lends {x} {i} to {o}.",
                "A ticket costs {h} {x} {i}.",
                "{P} loses {x} {i} on the way.",
            ),
            ("Then {p} spends {x} {i} on a book.",),
        ),
        "gain groups": TemplateVariants(
            (
                "{P} works {a} hours for {b} {i} an hour.",
                "{P} sells {a} toys for {b} {i} each.",
                "On each of {a} days {p} earns {b} {i}.",
            ),
            ("{P} sells {a} books for {b} {i} each.",),
        ),
        "lose groups": TemplateVariants(
            (
                "{P} buys {a} books for {b} {i} each.",
                "{P} pays for {a} tickets at {b} {i} each.",
                "On each of {a} days {p} spends {b} {i}.",
            ),
            ("{P} buys {a} toys for {b} {i} each.",),
        ),
        "double": TemplateVariants(
            ("Then {p} doubles {s} money.", "{o} doubles what {p} has.", "A month later {p} has twice as much."),
            ("After this {p} has twice as much.",),
        ),
        "times": TemplateVariants(
            ("A month later {p} has {x} times as much.", "The money grows to {x} times as much."),
            ("After this {p} has {x} times as much.",),
        ),
        "half": TemplateVariants(
            ("{P} gives half of {s} money to {o}.", "{P} spends half of the money.", "Half of the money is lost."),
            ("Then {p} spends half of it.",),
        ),
        "share": TemplateVariants(
            (
                "{P} splits the money into {x} equal parts and keeps one part.",
                "{P} shares the money equally among {x} people and {p} is one of them.",
            ),
            ("{P} shares the money in {x} equal parts and keeps one part.",),
        ),
    },
    question=TemplateVariants(
        (
            "How much money does {n} have now?",
            "How many {i} are left?",
            "How many {i} does {n} have in the end?",
        ),
        ("How much money is left?",),
    ),
    endings=("compared", "together"),
)

_SHOP = StorySituation(
    things=("cakes", "loaves", "pies", "rolls", "cookies", "muffins", "apples", "lemons", "plums", "melons"),
    opening=TemplateVariants(
        (
            "A shop has {x} {i}.",
            "{n} bakes for a shop that has {x} {i}.",
            "There are {x} {i} in the shop of {n}.",
            "In the morning {n} puts {x} {i} on the table.",
            "{n} brings {x} {i} to the market.",
        ),
        ("In the morning there are {x} {i} in the shop.",),
    ),
    events={
        "gain": TemplateVariants(
            (
                "{x} more are delivered.",
                "{n} makes {x} more {i}.",
                "{o} brings {x} {i}.",
                "At noon {x} {i} come in.",
                "A truck delivers {x} {i}.",
            ),
            ("At noon {o} delivers {x} more.",),
        ),
        "lose": TemplateVariants(
            (
                "{x} {i} are sold.",
                "{n} sells {x} of them.",
                "A man buys {x} {i}.",
                "{x} of the {i} go bad.",
                "{o} eats {x} {i}.",
            ),
            ("At noon a man buys {x} of them.",),
        ),
        "gain groups": TemplateVariants(
            (
                "{a} trays of {b} {i} come in.",
                "A truck delivers {a} crates with {b} {i} each.",
                "{n} makes {b} {i} in each of {a} hours.",
            ),
            ("{o} brings {a} trays with {b} {i} each.",),
        ),
        "lose groups": TemplateVariants(
            (
                "{a} people buy {b} {i} each.",
                "{n} sells {a} bags of {b} {i}.",
                "In each of {a} hours {b} {i} are sold.",
            ),
            ("{a} bags with {b} {i} each are sold.",),
        ),
        "double": TemplateVariants(
            ("Then the number of {i} doubles.", "For the feast {n} makes it twice as many."),
            ("At noon the number of {i} doubles.",),
        ),
        "times": TemplateVariants(
            ("For the feast there are {x} times as many.", "The next day the shop has {x} times as many."),
            ("The next day there are {x} times as many.",),
        ),
        "half": TemplateVariants(
            ("Half of the {i} are sold.", "{n} sells half of them.", "Half of them go bad."),
            ("At noon half of the {i} are sold.",),
        ),
        "share": TemplateVariants(
            (
                "The {i} are packed equally into {x} crates and all crates but one are sold.",
                "{n} puts them equally on {x} trays and keeps one tray.",
            ),
            ("The {i} are packed equally into {x} bags and {n} keeps one bag.",),
        ),
    },
    question=TemplateVariants(
        (
            "How many {i} are left?",
            "How many {i} does the shop have now?",
            "How many {i} are there in the evening?",
        ),
        ("How many {i} are left in the shop?",),
    ),
    endings=("priced",),
)

_RIDE = StorySituation(
    things=("people", "children", "guests", "students", "players"),
    opening=TemplateVariants(
        (
            "A bus carries {x} {i}.",
            "There are {x} {i} on a train.",
            "{x} {i} sit in a hall.",
            "A boat leaves with {x} {i}.",
            "{n} counts {x} {i} in a park.",
        ),
        ("There are {x} {i} on a boat.",),
    ),
    events={
        "gain": TemplateVariants(
            (
                "{x} more get on.",
                "{x} {i} join them.",
                "At the next stop {x} {i} come in.",
                "{n} brings {x} more {i}.",
                "Then {x} more arrive.",
            ),
            ("At the next stop {x} more join them.",),
        ),
        "lose": TemplateVariants(
            (
                "{x} get off.",
                "{x} {i} leave.",
                "At the next stop {x} {i} go home.",
                "{n} leads {x} {i} away.",
                "Then {x} of them walk off.",
            ),
            ("At the next stop {x} of them leave.",),
        ),
        "gain groups": TemplateVariants(
            (
                "{a} groups of {b} {i} join them.",
                "At each of {a} stops {b} more get on.",
                "{a} cars bring {b} {i} each.",
            ),
            ("{a} groups of {b} {i} arrive.",),
        ),
        "lose groups": TemplateVariants(
            (
                "{a} groups of {b} {i} leave.",
                "At each of {a} stops {b} get off.",
                "{a} cars take {b} {i} home each.",
            ),
            ("{a} groups of {b} {i} go home.",),
        ),
        "double": TemplateVariants(
            ("Then the number of {i} doubles.", "An hour later there are twice as many."),
            ("At the next stop the number of {i} doubles.",),
        ),
        "times": TemplateVariants(
            ("An hour later there are {x} times as many.", "In the evening there are {x} times as many {i}."),
            ("At noon there are {x} times as many {i}.",),
        ),
        "half": TemplateVariants(
            ("Half of the {i} leave.", "Half of them get off.", "Then half of the {i} go home."),
            ("At the next stop half of them leave.",),
        ),
        "share": TemplateVariants(
            (
                "They split into {x} equal groups and all groups but one leave.",
                "The {i} form {x} equal groups and only one group stays.",
            ),
            ("They form {x} equal groups and all groups but one go home.",),
        ),
    },
    question=TemplateVariants(
        (
            "How many {i} are there now?",
            "How many {i} are left?",
            "What is the number of {i} in the end?",
        ),
        ("How many {i} are there in the end?",),
    ),
)

_FARM = StorySituation(
    things=("eggs", "trees", "hens", "sheep", "pumpkins", "flowers", "fish", "ducks", "plants", "bees"),
    opening=TemplateVariants(
        (
            "A farm has {x} {i}.",
            "On the farm of {n} there are {x} {i}.",
            "A farmer counts {x} {i}.",
            "{n} has {x} {i} in the garden.",
            "In spring there are {x} {i} on a farm.",
        ),
        ("In spring {n} counts {x} {i} on the farm.",),
    ),
    events={
        "gain": TemplateVariants(
            (
                "In May {x} more are added.",
                "The farmer gets {x} more {i}.",
                "{o} brings {x} {i} from another farm.",
                "{x} new {i} come.",
                "In summer there are {x} more.",
            ),
            ("In summer {o} brings {x} more.",),
        ),
        "lose": TemplateVariants(
            (
                "A storm destroys {x} of them.",
                "The farmer sells {x} {i}.",
                "A fox takes {x} {i}.",
                "{x} {i} are given to {o}.",
                "In winter {x} of the {i} are lost.",
            ),
            ("In winter a fox takes {x} of them.",),
        ),
        "gain groups": TemplateVariants(
            (
                "{a} rows of {b} {i} are added.",
                "In each of {a} weeks {b} more come.",
                "The farmer gets {a} carts with {b} {i} each.",
            ),
            ("The farmer gets {a} rows of {b} {i}.",),
        ),
        "lose groups": TemplateVariants(
            (
                "{a} carts with {b} {i} each are sold.",
                "In each of {a} weeks {b} {i} are lost.",
                "The farmer gives {b} {i} to each of {a} neighbors.",
            ),
            ("In each of {a} weeks the farmer sells {b} {i}.",),
        ),
        "double": TemplateVariants(
            ("In a good year the number of {i} doubles.", "A year later there are twice as many {i}."),
            ("In summer there are twice as many {i}.",),
        ),
        "times": TemplateVariants(
            ("A year later there are {x} times as many.", "The farm grows to {x} times as many {i}."),
            ("In summer there are {x} times as many {i}.",),
        ),
        "half": TemplateVariants(
            ("Half of the {i} are sold.", "A storm takes half of them.", "The farmer gives half of them to {o}."),
            ("In winter half of the {i} are lost.",),
        ),
        "share": TemplateVariants(
            (
                "The {i} are split equally among {x} farms and one of them is ours.",
                "{x} brothers share the {i} equally and {n} is one of them.",
            ),
            ("{x} farms share the {i} equally and one of them is ours.",),
        ),
    },
    question=TemplateVariants(
        (
            "How many {i} are there now?",
            "How many {i} are left?",
            "How many {i} does {n} have in the end?",
        ),
        ("How many {i} are there in the end?",),
    ),
    endings=("compared", "together", "priced"),
)

_READING = StorySituation(
    things=("books", "pages", "stories", "poems", "letters", "photos", "songs", "maps"),
    opening=TemplateVariants(
        (
            "A library has {x} {i}.",
            "{n} collected {x} {i}.",
            "There are {x} {i} on a shelf.",
            "A teacher has {x} {i}.",
            "{n} has a folder with {x} {i}.",
        ),
        ("A teacher has a shelf with {x} {i}.",),
    ),
    events={
        "gain": TemplateVariants(
            (
                "{o} returns {x} {i}.",
                "{n} adds {x} more.",
                "{x} new {i} arrive by mail.",
                "On Monday {x} {i} are added.",
                "A class brings {x} more {i}.",
            ),
            ("On Monday {o} adds {x} {i}.",),
        ),
        "lose": TemplateVariants(
            (
                "{o} borrows {x} {i}.",
                "{n} takes {x} of them home.",
                "{x} {i} are torn and thrown away.",
                "On Friday {x} {i} are removed.",
                "A class borrows {x} {i}.",
            ),
            ("On Friday {o} takes {x} {i} home.",),
        ),
        "gain groups": TemplateVariants(
            (
                "{a} boxes with {b} {i} each arrive.",
                "Each of {a} students brings {b} {i}.",
                "On each of {a} days {n} adds {b} {i}.",
            ),
            ("Each of {a} students adds {b} {i}.",),
        ),
        "lose groups": TemplateVariants(
            (
                "Each of {a} students borrows {b} {i}.",
                "{n} sends away {a} boxes with {b} {i} each.",
                "On each of {a} days {b} {i} are removed.",
            ),
            ("Each of {a} students takes {b} {i} home.",),
        ),
        "double": TemplateVariants(
            ("A gift doubles the number of {i}.", "A year later there are twice as many."),
            ("On Monday the number of {i} doubles.",),
        ),
        "times": TemplateVariants(
            ("After ten years there are {x} times as many.", "A gift brings it to {x} times as many {i}."),
            ("A year later there are {x} times as many {i}.",),
        ),
        "half": TemplateVariants(
            ("Half of the {i} are removed.", "{n} gives half of them to {o}.", "Half of the {i} are borrowed."),
            ("On Friday half of them are removed.",),
        ),
        "share": TemplateVariants(
            (
                "The {i} are split equally among {x} rooms and we look at one room.",
                "They are put equally on {x} shelves and only one shelf stays.",
            ),
            ("The {i} are put equally in {x} rooms and we look at one room.",),
        ),
    },
    question=TemplateVariants(
        (
            "How many {i} are there now?",
            "How many {i} are left?",
            "What is the number of {i} in the end?",
        ),
        ("How many {i} are there in the end?",),
    ),
    endings=("compared", "together", "priced"),
)

SITUATIONS = (_THINGS, _MONEY, _SHOP, _RIDE, _FARM, _READING)

COMPARING = {
    "more": TemplateVariants(
        ("{o} has {x} more {i} than that.", "{o} counts {x} {i} more than this number."),
        ("{o} has {x} {i} more than this number.",),
    ),
    "fewer": TemplateVariants(
        ("{o} has {x} fewer {i} than that.", "{o} counts {x} {i} fewer than this number."),
        ("{o} has {x} {i} fewer than this number.",),
    ),
    "as many": TemplateVariants(
        ("{o} has {x} times as many {i} as that.", "{o} counts {x} times this number of {i}."),
        ("{o} has {x} times this number of {i}.",),
    ),
}
"""Brings in a second number, that of somebody else."""

ASK_OTHER = TemplateVariants(
    ("How many {i} does {o} have?", "What is the number of {i} of {o}?"), ("What number of {i} does {o} have?",)
)
ASK_TOTAL = TemplateVariants(
    ("How many {i} are there together?", "What is the number of {i} in total?"),
    ("How many {i} are there in total?",),
)
"""After a comparison: the other's number, or both together."""

PRICED = TemplateVariants(
    (
        "Each of them costs {x} coins. How many coins do all cost?",
        "They are sold for {x} coins each. How many coins is that?",
    ),
    ("Each of them is sold for {x} coins. How many coins is that?",),
)
"""Ends a story by turning the number into a price."""
