"""The people who may decide: who they are, their roles and tokens, and who may change that.

Every change is an event of the administration log, written together with the row that it tells of,
and decided on what the log and the rows are at that moment: of two processes that both want to add
the first person, one comes second and is refused.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mcpuppet.audit.record import open_record
from mcpuppet.errors import InvalidInputError, NotAuthorisedError, StoreError
from mcpuppet.ledger import MOST_CONFLICTS, Ledger
from mcpuppet.people.attempts import Attempts
from mcpuppet.plain_text import spelled
from mcpuppet.session.admin_events import (
    ADMINISTRATION,
    AdminEvent,
    TokenRotated,
    UserAdded,
    UserDisabled,
    UserRolesChanged,
)
from mcpuppet.session.consequences import Progress
from mcpuppet.session.state import BY_TIME
from mcpuppet.settings import AGENT, Settings
from mcpuppet.store.protocol import Store, User

TOKEN_PREFIX = "mcpp_"  # noqa: S105 - a mark for secret scanners, not a secret
ADMIN = "admin"
"""The role of those who may add, change and disable people."""
USER_OF = "user of "
"""What the name of somebody begins with who answered in a principal's own client."""
_NAME_LENGTH = 64
_CREDENTIAL_LENGTH = 12
_ADOPTED = "was in the store before it had an administration log"
_NO_PERSON = (BY_TIME, "first use", ADMINISTRATION)
"""Names that records use for what nobody did."""
_LOOKING_ALIKE = frozenset({"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GREEK", "LATIN"})
"""Scripts with letters that look like those of another one."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose token was checked."""

    name: str
    roles: frozenset[str]
    credential: str = ""
    """The first 12 hex digits of the SHA-256 of the token."""


def token_hash(token: str) -> bytes:
    """What is kept of a token: its SHA-256. Tokens hold 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.strip().encode("utf-8", "replace")).digest()


def credential_of(token: str) -> str:
    """What records show of a token: the first 12 hex digits of its SHA-256."""
    return token_hash(token).hex()[:_CREDENTIAL_LENGTH]


Change = tuple[AdminEvent, User]
"""An event of the administration log, and the person as they are after it."""


class Users:
    """Adds, changes and recognises people."""

    def __init__(
        self, ledger: Ledger, store: Store, settings: Settings, attempts: Attempts
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._attempts = attempts

    # --- who ------------------------------------------------------------------------------------

    async def authenticate(
        self, token: str, action: str = "authenticate", target: str = "", channel: str = "cli"
    ) -> Person:
        """The person who holds this token; raises NotAuthorisedError for any other text.

        That is recorded as a refusal of `action` on `target`.
        """
        credential = credential_of(token)
        user = await self._store.user_by_token_hash(token_hash(token)) if token.strip() else None
        by = "" if user is None else user.name
        async with self._attempts.attempt(
            action, target, by=by, credential=credential, channel=channel
        ):
            if user is None or user.disabled:
                raise NotAuthorisedError("this token belongs to nobody who may decide")
        return Person(user.name, frozenset(user.roles), credential)

    async def standing(self, person: Person) -> Person:
        """The person as they are now; time may have passed since their token was checked.

        Raises NotAuthorisedError when they were disabled, or given another token, meanwhile.
        """
        users = await self._store.users()
        user = next((one for one in users if one.name == person.name), None)
        if user is None:
            return person
        if user.disabled:
            raise NotAuthorisedError(f"{person.name} has been disabled")
        if person.credential and not user.token_hash.hex().startswith(person.credential):
            raise NotAuthorisedError(f"the token of {person.name} has been replaced")
        return replace(person, roles=frozenset(user.roles))

    async def disabled(self) -> frozenset[str]:
        """The names of all who may decide nothing any more."""
        return frozenset(one.name for one in await self._store.users() if one.disabled)

    async def has_any(self) -> bool:
        """Whether anybody has been added yet."""
        return bool(await self._store.users())

    # --- changes --------------------------------------------------------------------------------

    async def add(self, name: str, roles: tuple[str, ...], by: Person | None) -> str:
        """Add a person and return the token, which is shown this once and kept only as a hash.

        The first person of a store may be added by anybody and becomes an admin as well; everybody
        else is added `by` an admin, so that an agent with a shell cannot make itself a person.
        Raises NotAuthorisedError without one, and InvalidInputError for a name that is taken or a
        person without a role.
        """
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)

        def decide(users: Sequence[User], now: datetime) -> Change:
            _check_name(name, users, self._settings)
            _check_roles(roles)
            if users:
                _require_admin(users, by, "add people")
            held = roles if users else tuple(dict.fromkeys((*roles, ADMIN)))
            user = User(name, held, token_hash(token), False, now)
            hashed = user.token_hash.hex()
            return UserAdded(name, held, hashed, _name(by), _credential(by)), user

        await self._change("user add", name, by, decide)
        return token

    async def change_roles(self, name: str, roles: tuple[str, ...], by: Person) -> None:
        """Give a person these roles in place of those they hold.

        Raises NotAuthorisedError unless `by` is an admin, and InvalidInputError when nobody would
        be left who is one.
        """

        def decide(users: Sequence[User], now: datetime) -> Change:
            del now
            _check_roles(roles)
            _require_admin(users, by, "change roles")
            user = _enabled(users, name)
            after = replace(user, roles=roles)
            _check_admins_left(users, after)
            return UserRolesChanged(name, roles, by.name, by.credential), after

        await self._change("user roles", name, by, decide)

    async def disable(self, name: str, reason: str, by: Person) -> None:
        """Let a person decide nothing any more; their votes for what is still open do not count.

        Raises NotAuthorisedError unless `by` is an admin, and InvalidInputError for the last one.
        """

        def decide(users: Sequence[User], now: datetime) -> Change:
            del now
            _require_admin(users, by, "disable people")
            if not reason.strip():
                raise InvalidInputError('disabling somebody needs a reason: --reason "..."')
            after = replace(_enabled(users, name), disabled=True)
            _check_admins_left(users, after)
            return UserDisabled(name, by.name, reason.strip(), by.credential), after

        await self._change("user disable", name, by, decide)

    async def rotate(self, name: str, by: Person) -> str:
        """Give a person a new token and return it, this once; the old one is worth nothing then.

        Raises NotAuthorisedError unless `by` is that person or an admin.
        """
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)

        def decide(users: Sequence[User], now: datetime) -> Change:
            del now
            if by.name == name:
                _check_enabled(users, by)
            else:
                _require_admin(users, by, "replace the tokens of others")
            after = replace(_enabled(users, name), token_hash=token_hash(token))
            return TokenRotated(name, after.token_hash.hex(), by.name, by.credential), after

        await self._change("user rotate", name, by, decide)
        return token

    async def _change(
        self,
        action: str,
        name: str,
        by: Person | None,
        decide: Callable[[Sequence[User], datetime], Change],
    ) -> None:
        """Decide on all people as they are, and write the change down before they are others."""
        async with self._attempts.attempt(
            action,
            name,
            by=_name(by) or "",
            credential=_credential(by),
            channel="cli",
            session_id=ADMINISTRATION,
        ):
            for _ in range(MOST_CONFLICTS):
                users = await self._store.users()
                if await self._written(users, decide):
                    return
        raise StoreError("the people of the store are changed by others all the time")

    async def _written(
        self, users: Sequence[User], decide: Callable[[Sequence[User], datetime], Change]
    ) -> bool:
        """Write a change of `users`; False when these are not the people of the store any more."""

        def work(progress: Progress) -> User | None:
            # Read after the log's head was: whoever changes people from here on moves the head.
            if self._known() != {one.name: _as_known(one) for one in users}:
                return None
            event, user = decide(users, progress.source.now)
            progress.open_session(ADMINISTRATION, self._settings.hash)
            for one in _adopted(users, event) if users and not self._tells_of_people() else ():
                progress.emit(one)
            progress.emit(event)
            return user

        def beside(user: User | None) -> tuple[User, ...]:
            return () if user is None else (user,)

        user, _ = await self._ledger.change(ADMINISTRATION, work, beside)
        return user is not None

    def _known(self) -> Mapping[str, tuple[object, ...]]:
        with self._store.reader() as reader:
            return {one.name: (one.roles, one.credential, one.disabled) for one in reader.users()}

    def _tells_of_people(self) -> bool:
        """Whether the administration log says of anybody how they came to be in the store."""
        with self._store.reader() as reader:
            bodies = (record.body for record in reader.records(ADMINISTRATION))
            return any(open_record(one).kind == UserAdded.__name__ for one in bodies)


def _adopted(users: Sequence[User], event: AdminEvent) -> Iterator[AdminEvent]:
    """What the log has to tell before its first change of people, in a store older than the log.

    It happens once, by an admin: a log that tells of anybody tells of all, or the store was changed
    behind its back.
    """
    by = next((one for one in users if one.name == getattr(event, "by", None)), None)
    if by is None or ADMIN not in by.roles:
        raise InvalidInputError(
            "this store is older than its administration log: an admin has to make the first "
            f"change of people, with which all are recorded; {ADMIN}s may rotate their own token"
        )
    credential = by.token_hash.hex()[:_CREDENTIAL_LENGTH]
    for one in (by, *(one for one in users if one is not by)):
        who, hashed = None if one is by else by.name, one.token_hash.hex()
        yield UserAdded(one.name, one.roles, hashed, who, credential, _ADOPTED)
        if one.disabled:
            yield UserDisabled(one.name, by.name, f"{_ADOPTED}, disabled", credential)


def _as_known(user: User) -> tuple[object, ...]:
    return user.roles, user.token_hash.hex(), user.disabled


def _name(by: Person | None) -> str | None:
    return None if by is None else by.name


def _credential(by: Person | None) -> str:
    return "" if by is None else by.credential


def _check_name(name: str, users: Sequence[User], settings: Settings) -> None:
    """Refuse a name that could be taken for another one in the audit trail."""
    is_drawn = name.isprintable() and spelled(name) == name and not any(map(_is_modifier, name))
    if not is_drawn or not 0 < len(name) <= _NAME_LENGTH or name != name.strip():
        raise InvalidInputError(f"a user's name has 1 to {_NAME_LENGTH} printable characters")
    if name.startswith(TOKEN_PREFIX):
        raise InvalidInputError("that is a token: the name of a person is shown to everybody")
    if len(scripts := _scripts(name)) > 1:
        found = " and ".join(sorted(one.title() for one in scripts))
        raise InvalidInputError(f"{name!r} mixes letters of {found}, which look alike")
    looks = _looks(name)
    if looks in map(_looks, (AGENT, *settings.principals)):
        raise InvalidInputError(f"{name!r} is, or reads like, the name of a principal")
    if looks in _NO_PERSON or looks.startswith(USER_OF):
        raise InvalidInputError(f"{name!r} would not read as a person's name in the audit trail")
    alike = next((one.name for one in users if _looks(one.name) == looks), None)
    if alike == name:
        raise InvalidInputError(f"there is a user {name!r} already")
    if alike is not None:
        raise InvalidInputError(f"{name!r} reads like {alike!r}, who is a user already")


def _looks(name: str) -> str:
    """The same for names that read alike: without case, widths, styles and doubled spaces."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _is_modifier(character: str) -> bool:
    """Whether a character is drawn as nothing, though it counts as a mark."""
    return character == "\u034f" or unicodedata.name(character, "").startswith(
        ("VARIATION SELECTOR", "MONGOLIAN FREE VARIATION SELECTOR", "KHMER VOWEL INHERENT")
    )


def _scripts(name: str) -> frozenset[str]:
    """Of the scripts that look alike, those whose letters a name has."""
    text = unicodedata.normalize("NFKC", name)
    return _LOOKING_ALIKE & {unicodedata.name(one, "").partition(" ")[0] for one in text}


def _check_roles(roles: Sequence[str]) -> None:
    if not roles:
        raise InvalidInputError("a user needs at least one role: --role finance")


def _enabled(users: Sequence[User], name: str) -> User:
    user = next((one for one in users if one.name == name), None)
    if user is None:
        raise InvalidInputError(f"there is no user {name!r}; `mcpuppet user list` lists them")
    if user.disabled:
        raise InvalidInputError(f"{name} has been disabled, and that cannot be undone")
    return user


def _check_enabled(users: Sequence[User], by: Person) -> User:
    """The row of who acts; raises NotAuthorisedError when they may not act any more."""
    user = next((one for one in users if one.name == by.name), None)
    if user is None or user.disabled:
        raise NotAuthorisedError(f"{by.name} may decide nothing in this store")
    if by.credential and not user.token_hash.hex().startswith(by.credential):
        raise NotAuthorisedError(f"the token of {by.name} has been replaced")
    return user


def _require_admin(users: Sequence[User], by: Person | None, what: str) -> None:
    is_known = by is not None and any(one.name == by.name for one in users)
    if by is None or not is_known or ADMIN not in _check_enabled(users, by).roles:
        raise NotAuthorisedError(f"only a person with the role {ADMIN} may {what}")


def _check_admins_left(users: Sequence[User], after: User) -> None:
    """Refuse to leave a store in which nobody can add or disable anybody."""
    left = [after if one.name == after.name else one for one in users]
    if not any(ADMIN in one.roles and not one.disabled for one in left):
        raise InvalidInputError(
            f"{after.name} is the last person with the role {ADMIN}: give it to somebody else first"
        )
