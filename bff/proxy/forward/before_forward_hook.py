"""The application's word on each call, by its hook `before_forward`, and the fields that it adds."""

from bff.credentials.credential import Anonymous, Refused, Signed, TokenOnly
from bff.errors import Problem
from bff.hooks import Call, HookFailedError, Hooks, NotAllowed
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Header


class AskBeforeForward:
    """Asks an application about calls; once for each, however often it is sent."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    @classmethod
    def of(cls, hooks: Hooks) -> "AskBeforeForward | None":
        """Returns None where there is no such hook."""
        return None if hooks.before_forward is None else cls(hooks)

    async def __call__(
        self, request: RequestHead, admitted: Admitted, credential: Signed | Anonymous
    ) -> tuple[Header, ...] | Refused:
        """Returns the fields that go with the call, or the refusal."""
        session = credential.found.session if isinstance(credential, Signed) else None
        call = Call(
            method=request.method.decode("ascii"),
            path=request.raw_path.decode("ascii", "replace"),
            route=admitted.route.settings.path,
            sub=_sub_of(credential),
            session=None if session is None else session.id,
        )
        key = None if session is None else session.key
        try:
            return tuple(await self._hooks.fields_for(call))
        except NotAllowed as refusal:
            return Refused(Problem.NOT_ALLOWED, refusal.reason, session=key)
        except HookFailedError:
            return Refused(Problem.INTERNAL_ERROR, session=key)


def _sub_of(credential: Signed | Anonymous) -> str | None:
    if isinstance(credential, Signed):
        return credential.found.session.sub
    return credential.subject if isinstance(credential, TokenOnly) else None
