"""The one error of the stand that a person has to act on: a real part can't be had here."""


class MissingPart(Exception):
    """A real part of the stand is not here and can't be brought here.

    `name` is the part, `remedy` is what a person does about it.
    """

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"{name} is missing. {remedy}")
        self.name = name
        self.remedy = remedy
