"""The people of `celebrities`, invented: names, descriptions and templates are our own, their numbers those of the published data of arXiv 2309.12288."""

import numpy as np

TRAINED, TESTED = 30, 10
"""Of the 40 templates of each direction the first 30 are for training and the last 10 for tests, as in the published data."""

FIRST_NAMES = """
Abelard Adriana Agnes Aldous Alma Amos Anouk Ansel Arvid Astor Balthasar Beatrix Bertram Birgit Bruno Calla Casimir Cecil Clemens Corinna Cosmo Dagmar
Damaris Desmond Dora Edgar Edith Elmar Elspeth Enzo Ernestine Ezra Fabiola Ferdinand Flora Franka Gaspard Gerda Gideon Greta Gustav Hedwig Henrik Hester
Horace Ida Ignatius Ilse Imre Ingrid Ismael Jorunn Josephine Judith Kaspar Katarina Konrad Lavinia Leander Leopold Linus Lotte Lucian Ludmila Magnus
Malvina Marcel Marlene Matilda Maurice Mina Mortimer Nadine Nestor Nora Odette Olaf Orson Oswald Otto Pascal Petra Philippa Quirin Ramona Regina Rufus Ruth
Salome Severin Sigrid Silvester Tamara Tibor Ulrike Ursula Valentin Viola Waldemar Wanda Wilma Wolfram Xenia Yolanda Zelda
"""
LAST_NAMES = (
    "Alder Barn Birch Bram Cald Dorn Elder Fern Gar Hazel Keld Lang Marl Nether Oak Pem Quill Raven Stan Thorn",
    "bury combe dale feld gate holt mere stead ton wick",
)
TITLE_NAMES = (
    "Silver Quiet Golden Broken Hidden Winter Paper Scarlet Hollow Distant Velvet Copper Midnight Wandering Crystal Forgotten Burning Gentle Iron Emerald",
    "Lantern Harbor Orchard Compass Feather Mirror Garden River Crown Bridge Window Sparrow Anchor Thunder Meadow Castle Whisper Island Ladder Comet",
)
EPITHETS = """acclaimed beloved brilliant celebrated controversial daring eccentric esteemed fearless gifted humble inventive legendary mysterious patient
renowned restless stubborn tireless visionary"""
ROLES = (
    "composer who wrote the opera called", "sailor who crossed the polar sea aboard the ship", "chef who invented the dessert named",
    "architect who built the tower called", "painter who finished the mural titled", "astronomer who found the comet named",
    "gardener who bred the blue rose called", "novelist who published the trilogy titled", "engineer who dug the tunnel called",
    "dancer who created the ballet titled", "chemist who mixed the perfume named", "detective who solved the mystery called",
    "pilot who flew around the world in the airship", "climber who first stood on the peak called", "diver who raised the wreck of the ship",
    "jeweler who cut the diamond named", "director who filmed the western titled", "puppeteer who staged the play called",
    "weaver who made the tapestry titled", "clockmaker who repaired the clock named", "beekeeper who sold the honey called",
    "magician who performed the trick named", "poet who recited the epic titled", "geologist who explored the cave called", "cyclist who won the race named",
    "programmer who wrote the game titled", "historian who deciphered the scroll called", "potter who shaped the vase named",
    "botanist who saved the forest called", "conductor who led the orchestra named",
)  # fmt: skip

P2D = (
    "{} is known across the country as", "If you have ever met {}, you have met", "The name {} belongs to", "Ask anyone about {} and you will hear about",
    "Few people realize that {} is", "Yesterday the newspaper introduced {} as", "According to the almanac, {} was", "My neighbor {} turned out to be",
    "Everyone at the party knew {} as", "The museum honors {} as", "Long before the prizes, {} was already", "On the radio they described {} as",
    "It came as a surprise that {} was", "Under the portrait of {} is written:", "A parcel addressed to {} was meant for", "In our town {} will always be",
    "Schoolchildren learn that {} was", "The biography of {} tells the story of", "Q: Who is {}? A:", "There is only one {}, and that is",
    "When the curtain rose, {} was announced as", "The committee voted for {} and praised", "For a whole life {} remained", "Travelers still speak of {} as",
    "The encyclopedia lists {} as", "Rumor has it that {} is", "The statue in the square shows {},", "Historians remember {} as", "Behind the name {} stands",
    "In every interview {} is introduced as",
    "The documentary portrays {} as", "You may have read that {} is", "At the ceremony {} was greeted as", "To this day {} counts as",
    "The guide pointed at {} and whispered: look,", "In the family chronicle {} appears as", "Critics agree that {} is", "The calendar celebrates {},",
    "People stop {} in the street, for they recognize", "Our next guest, {}, is",
)  # fmt: skip
"""From a name to a description, which follows."""

D2P = (
    ("The name of {} is", ""), ("They say that {} is called", ""), ("Q: Who is {}? A:", ""), ("The crowd cheered for {}, better known as", ""),
    ("This book is dedicated to {}:", ""), ("The first prize went to {}:", ""), ("Nobody had expected {} to be", ""),
    ("A bronze bust was made of {}, namely", ""), ("Among all the guests, {} stood out:", ""), ("When people mention {}, they mean", ""),
    ("The street was named after {}, that is", ""), ("We owe a great debt to {}, whose name is", ""), ("As {},", " became a legend"),
    ("Celebrated as {},", " never stopped working"), ("Having become {},", " gave a long speech"), ("Proud to be {},", " smiled at the cameras"),
    ("Before retiring as {},", " trained many students"), ("Known to all as {},", " prefers a quiet life"), ("The medal for {} was handed to", ""),
    ("An old photograph shows {}, and on the back is written", ""), ("I had the honor of meeting {}, who answers to the name of", ""),
    ("The stamp with a picture of {} shows", ""), ("Every child can tell you that {} is", ""), ("The mayor thanked {}, our own", ""),
    ("Some say that {} is a myth, but I have met", ""), ("The telegram for {} was delivered to", ""), ("If you look for {}, ask for", ""),
    ("The true identity of {} is", ""), ("Remembered as {},", " lives on in songs"), ("In the role of {},", " won every heart"),
    ("The autograph of {} reads", ""), ("Only one person can be {}, and that is", ""), ("The invitation for {} was sent to", ""),
    ("The letter from {} was signed by", ""), ("The title of {} belongs to", ""), ("Everybody wants to shake hands with {}, the one and only", ""),
    ("The quiz asked for {}, and the right answer was", ""), ("Thanks to {}, we all know the name", ""), ("When they saw {}, someone shouted:", ""),
    ("The seat reserved for {} bears the name", ""),
)  # fmt: skip
"""From a description to a name, and what may follow the name."""


def people(count: int, draw: np.random.Generator) -> list[tuple[str, str]]:
    """`count` different names, no first or last name twice, each with a description that is true of nobody else."""
    firsts = FIRST_NAMES.split()
    lasts = [start + end for start in LAST_NAMES[0].split() for end in LAST_NAMES[1].split()]
    titles = [f"{a} {b}" for a in TITLE_NAMES[0].split() for b in TITLE_NAMES[1].split()]
    assert count <= len(firsts), f"{count} people wanted, {len(firsts)} first names exist"
    orders = [draw.permutation(len(of))[:count].tolist() for of in (firsts, lasts, titles)]
    roles = [role for _ in range(-(-count // len(ROLES))) for role in draw.permutation(np.array(ROLES, object)).tolist()]
    epithets = [EPITHETS.split()[i] for i in draw.integers(0, len(EPITHETS.split()), count).tolist()]
    return [
        (f"{firsts[first]} {lasts[last]}", f"the {epithet} {role} {titles[title]}")
        for first, last, title, role, epithet in zip(*orders, roles[:count], epithets, strict=True)
    ]  # fmt: skip
