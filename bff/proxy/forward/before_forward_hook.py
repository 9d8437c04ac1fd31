"""The application's word on each call, by its hook `before_forward`, and the fields that it adds."""

from bff.credentials.credential import Anonymous, Refused, Signed, TokenOnly, session_of
from bff.errors import Problem
from bff.hooks import Call, HookFailedError, Hooks, NotAllowed
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Header


async def ask_before_forward(
    hooks: Hooks, request: RequestHead, admitted: Admitted, credential: Signed | Anonymous
) -> tuple[Header, ...] | Refused:
    """Returns the fields that go with a call, or the refusal; once for each, however often it is sent."""
    session = session_of(credential)
    sub = credential.subject if isinstance(credential, TokenOnly) else None
    call = Call(
        method=request.method.decode("ascii"),
        path=request.raw_path.decode("ascii", "replace"),
        route=admitted.route.settings.path,
        sub=sub if session is None else session.sub,
        session=None if session is None else session.id,
    )
    key = None if session is None else session.key
    try:
        return tuple(await hooks.fields_for(call))
    except NotAllowed as refusal:
        return Refused(Problem.NOT_ALLOWED, refusal.reason, session=key)
    except HookFailedError:
        return Refused(Problem.INTERNAL_ERROR, session=key)
